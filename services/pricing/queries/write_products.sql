-- The newest state of each product of a batch: only whether it is there. The inbox has dropped what
-- is older than the row.
with change as (
  select sku, version, is_deleted
    from unnest($1::text[], $2::bigint[], $3::boolean[]) as change (sku, version, is_deleted)
), gone as (
  delete from pricing.product using change
   where product.sku = change.sku and change.is_deleted
)
insert into pricing.product (sku, version)
select sku, version from change where not is_deleted
on conflict (sku) do update set version = excluded.version
