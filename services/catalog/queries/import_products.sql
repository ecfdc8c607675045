-- Stores the products that are not equal already and says which; sorted, so that two of these never
-- wait for each other in a circle. An equal one is neither locked nor written. The limit makes this
-- a look into the index for each, although the plan may be older than most of the table. $3 lists
-- the categories of each, separated by bars.
insert into catalog.product as stored (sku, name, categories, attributes)
select given.sku, given.name, given.categories, given.attributes
  from (
    select sku, name, string_to_array(list, '|') as categories, attributes
      from unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])
        as product (sku, name, list, attributes)
  ) as given
  left join lateral (
    select name, categories, attributes from catalog.product where sku = given.sku limit 1
  ) as held on true
 where given.name is distinct from held.name or given.categories is distinct from held.categories
    or given.attributes is distinct from held.attributes
 order by given.sku collate "C"
on conflict (sku) do update
   set name = excluded.name, categories = excluded.categories,
       attributes = excluded.attributes, revision = stored.revision + 1
returning sku as key
