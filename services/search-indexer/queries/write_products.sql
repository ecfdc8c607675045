-- The newest state of each product of a batch; no name means deleted. The inbox has already dropped
-- what is older than the row, so the row is simply replaced. Where two lanes bring a new product at
-- once, a category that it no longer names may be left over, which only costs the worker a look.
with change as materialized (
    select key, version, name, attributes,
           array(select jsonb_array_elements_text(categories)) as categories
      from unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[], $5::jsonb[])
           as change (key, version, name, categories, attributes)
), gone as (
    delete from search.product using change
     where product.key = change.key and change.name is null
), left_behind as (
    delete from search.product_category as link
     using change join search.product using (key)
     where link.product = change.key
       and link.category = any(product.categories)
       and (change.name is null or link.category <> all(change.categories))
), entered as (
    insert into search.product_category (category, product)
    select distinct category, key
      from change, unnest(categories) as category
     where name is not null
     order by category, key
        on conflict do nothing
)
insert into search.product as product (key, version, name, categories, attributes)
select key, version, name, categories, attributes
  from change
 where name is not null
    on conflict (key) do update
   set version = excluded.version,
       name = excluded.name,
       categories = excluded.categories,
       attributes = excluded.attributes;
