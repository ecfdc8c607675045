-- Stores the categories that are not equal already and says which; sorted, so that two of these
-- never wait for each other in a circle. An equal one is neither locked nor written.
insert into catalog.category as stored (id, name, parent)
select given.id, given.name, given.parent
  from jsonb_to_recordset($1::jsonb) as given (id text, name text, parent text)
 where not exists (
   select from catalog.category as held
    where held.id = given.id and held.name = given.name
      and held.parent is not distinct from given.parent
 )
 order by given.id collate "C"
on conflict (id) do update
   set name = excluded.name, parent = excluded.parent, revision = stored.revision + 1
returning id as key
