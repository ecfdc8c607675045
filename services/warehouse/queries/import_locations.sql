-- Stores the locations that are not equal already and says which; sorted, so that two of these
-- never wait for each other in a circle. An equal one is neither locked nor written, unless nobody
-- has published it.
insert into warehouse.location as stored (id, name, city, region, postcode)
select given.id, given.name, given.city, given.region, given.postcode
  from jsonb_to_recordset($1::jsonb)
    as given (id text, name text, city text, region text, postcode text)
 where not exists (
   select from warehouse.location as held
     join outbox.current as published
       on published.topic = $2 and published.key = held.id and not published.deleted
    where held.id = given.id
      and (held.name, held.city, held.region, held.postcode)
          is not distinct from (given.name, given.city, given.region, given.postcode)
 )
 order by given.id collate "C"
on conflict (id) do update
   set name = excluded.name, city = excluded.city, region = excluded.region,
       postcode = excluded.postcode, revision = stored.revision + 1
returning id
