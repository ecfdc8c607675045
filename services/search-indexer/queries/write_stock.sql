-- The newest stock of each product and location of a batch; nothing available at all means deleted,
-- which is not the same as zero.
with change as materialized (
    select *
      from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
           as change (product, location, version, available)
), gone as (
    delete from search.stock using change
     where stock.product = change.product
       and stock.location = change.location
       and change.available is null
)
insert into search.stock as stock (product, location, version, available)
select product, location, version, available
  from change
 where available is not null
    on conflict (product, location) do update
   set version = excluded.version,
       available = excluded.available;
