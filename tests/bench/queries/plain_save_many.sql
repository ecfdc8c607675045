-- Saves many products in one transaction; in the order of their keys, so that two never deadlock.
insert into plain_source.product as stored (sku, name, categories, attributes)
select given.sku, given.name, given.categories, given.attributes
  from jsonb_to_recordset($1::jsonb)
       as given (sku text, name text, categories text[], attributes jsonb)
 order by given.sku collate "C"
on conflict (sku) do update
   set name = excluded.name, categories = excluded.categories, attributes = excluded.attributes,
       deleted = false, version = stored.version + 1
returning sku, version
