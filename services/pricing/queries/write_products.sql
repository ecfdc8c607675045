-- Which of these products there are now, and which no more. The inbox has dropped what is older.
with change as materialized (
  select sku, there from unnest($1::text[], $2::boolean[]) as change (sku, there)
), gone as (
  delete from pricing.product using change
   where product.sku = change.sku and not change.there
)
insert into pricing.product (sku)
select sku from change where there order by sku collate "C"
    on conflict do nothing
