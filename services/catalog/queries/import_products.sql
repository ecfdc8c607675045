-- Stores the products that are not equal already and says which; sorted, so that two of these never
-- wait for each other in a circle. An equal one is neither locked nor written.
insert into catalog.product as stored (sku, name, categories, attributes)
select given.sku, given.name, given.categories, given.attributes
  from jsonb_to_recordset($1::jsonb)
    as given (sku text, name text, categories text[], attributes jsonb)
 where not exists (
   select from catalog.product as held
    where held.sku = given.sku and held.name = given.name
      and held.categories = given.categories and held.attributes = given.attributes
 )
 order by given.sku collate "C"
on conflict (sku) do update
   set name = excluded.name, categories = excluded.categories,
       attributes = excluded.attributes, revision = stored.revision + 1
returning sku as key
