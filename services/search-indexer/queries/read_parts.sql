-- Every part of these documents in one statement, hence of one moment: first a row for each key,
-- with its product, its price and the sum of its stock, as far as they are here; then each category
-- that one of the products shows, with its ancestors. `union` also ends the walk where parents form
-- a circle.
with recursive wanted as materialized (
    select asked.key, product.version, product.name, product.categories, product.attributes
      from unnest($1::text[]) as asked (key)
      left join search.product on product.key = asked.key
), shown as (
    select unnest(categories) as key
      from wanted
    union
    select category.parent
      from shown
      join search.category using (key)
     where category.parent is not null
)
select true as is_document, wanted.key, wanted.version, name, categories, attributes,
       null::text as parent, price.version as price_version, currency, amount::text as amount,
       effective::text as effective, promotion, until, available, stocked, locations, stock_versions
  from wanted
  left join search.price on price.product = wanted.key
  left join lateral (
           select sum(available)::bigint as available,
                  count(*) filter (where available > 0) as stocked,
                  array_agg(location) as locations,
                  array_agg(version) as stock_versions
             from search.stock
            where stock.product = wanted.key
       ) as stock on true
 union all
select false, key, version, name, null, null, parent,
       null, null, null, null, null, null, null, null, null, null
  from search.category
 where key in (select key from shown);
