-- Saves a product, if it still has the version that the caller expects where one is expected.
insert into plain_source.product as stored (sku, name, categories, attributes)
values ($1, $2, $3, $4)
on conflict (sku) do update
   set name = excluded.name, categories = excluded.categories, attributes = excluded.attributes,
       deleted = false, version = stored.version + 1
 where $5::bigint is null or stored.version = $5
returning version
