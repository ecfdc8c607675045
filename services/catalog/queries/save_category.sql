-- Stores the category and says what is published of it, for a write with a condition. $1 the key,
-- $2 the topic.
with saved as (
  insert into catalog.category as stored (id, name, parent)
  values ($1, $3, $4)
  on conflict (id) do update
     set name = excluded.name, parent = excluded.parent, revision = stored.revision + 1
  returning revision
)
select saved.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from saved
  left join outbox.current as published
    on published.topic = $2 and published.key = $1 and not published.deleted
