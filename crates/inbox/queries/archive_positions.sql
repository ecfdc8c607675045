-- Keeps the books of the copy that ends here.
insert into inbox.position_archive
select p.*, $2, clock_timestamp() from inbox.position as p where topic = $1
