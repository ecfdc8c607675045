-- Stores the category and says what is published of it: so a write has one or two round trips.
with saved as (
  insert into catalog.category as stored (id, name, parent)
  values ($1, $2, $3)
  on conflict (id) do update
     set name = excluded.name, parent = excluded.parent, revision = stored.revision + 1
  returning revision
)
select saved.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from saved
  left join outbox.current as published
    on published.topic = $4 and published.key = $1 and not published.deleted
