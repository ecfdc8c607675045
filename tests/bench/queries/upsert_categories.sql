-- The newest state of many categories, in one statement.
insert into bench.categories (id, name, version)
select id, name, version
  from unnest($1::text[], $2::text[], $3::bigint[]) as new (id, name, version)
on conflict (id) do update set name = excluded.name, version = excluded.version
