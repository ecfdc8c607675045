-- Stores the categories that are not equal already and says which; sorted, so that two of these
-- never wait for each other in a circle. An equal one is neither locked nor written. The limit
-- makes this a look into the index for each, although the plan may be older than most of the table.
insert into catalog.category as stored (id, name, parent)
select given.id, given.name, given.parent
  from unnest($1::text[], $2::text[], $3::text[]) as given (id, name, parent)
  left join lateral (
    select name, parent from catalog.category where id = given.id limit 1
  ) as held on true
 where given.name is distinct from held.name or given.parent is distinct from held.parent
 order by given.id collate "C"
on conflict (id) do update
   set name = excluded.name, parent = excluded.parent, revision = stored.revision + 1
returning id as key
