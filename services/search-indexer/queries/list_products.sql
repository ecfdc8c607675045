-- The next page of keys while the index is rebuilt from the parts.
select key from search.product where key > $1 order by key limit $2;
