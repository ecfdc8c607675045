-- Makes a row, and so a lock, for stock that has none; nothing where another one made it meanwhile.
insert into warehouse.stock (sku, location)
select sku, location
  from unnest($1::text[], $2::text[]) as given (sku, location)
 order by sku collate "C", location collate "C"
    on conflict do nothing
returning sku, location
