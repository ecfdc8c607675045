-- Every part of these documents in one statement, hence of one moment: first the products, then
-- each category that one of them shows, with its ancestors. `union` also ends the walk where
-- parents form a circle.
with recursive wanted as materialized (
    select key, version, name, categories, attributes
      from search.product
     where key = any($1)
), shown as (
    select unnest(categories) as key
      from wanted
    union
    select category.parent
      from shown
      join search.category using (key)
     where category.parent is not null
)
select true as is_product, key, version, name, categories, attributes, null::text as parent
  from wanted
 union all
select false, key, version, name, null, null, parent
  from search.category
 where key in (select key from shown);
