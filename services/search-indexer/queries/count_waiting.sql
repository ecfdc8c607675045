-- For the status: how many products have not arrived while their price or stock has.
select count(*) as products from search.waiting;
