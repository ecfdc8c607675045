-- The number that a copy has reached.
select pn from inbox.position where stream = $1
