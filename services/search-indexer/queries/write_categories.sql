-- The newest state of each category of a batch; no name means deleted.
with change as materialized (
    select *
      from unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
           as change (key, version, name, parent)
), gone as (
    delete from search.category using change
     where category.key = change.key and change.name is null
)
insert into search.category as category (key, version, name, parent)
select key, version, name, parent
  from change
 where name is not null
    on conflict (key) do update
   set version = excluded.version,
       name = excluded.name,
       parent = excluded.parent;
