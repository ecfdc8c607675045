-- Stores the location and says what is published of it: so a write has two round trips only.
with saved as (
  insert into warehouse.location as stored (id, name, city, region, postcode)
  values ($1, $2, $3, $4, $5)
  on conflict (id) do update
     set name = excluded.name, city = excluded.city, region = excluded.region,
         postcode = excluded.postcode, revision = stored.revision + 1
  returning revision
)
select saved.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from saved
  left join outbox.current as published
    on published.topic = $6 and published.key = $1 and not published.deleted
