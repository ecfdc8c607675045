-- The newest state of each product of a batch; no name means deleted. The inbox has already dropped
-- what is older than the row, so the row is simply replaced.
with change as materialized (
    select *
      from unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[], $5::jsonb[])
           as change (key, version, name, categories, attributes)
), gone as (
    delete from search.product using change
     where product.key = change.key and change.name is null
)
insert into search.product as product (key, version, name, categories, attributes)
select key, version, name, array(select jsonb_array_elements_text(categories)), attributes
  from change
 where name is not null
    on conflict (key) do update
   set version = excluded.version,
       name = excluded.name,
       categories = excluded.categories,
       attributes = excluded.attributes;
