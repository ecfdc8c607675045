-- Takes the lock of the promotion, which is made where there is none, and says which products it
-- names so far and what is published of it; what it names from now on is saved next.
with held as (
  insert into pricing.promotion as stored (id, skus, percent_off, periods)
  values ($1, '{}', 0, '[]')
  on conflict (id) do update set revision = stored.revision + 1
  returning skus, revision
)
select held.skus as named_before, held.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from held
  left join outbox.current as published
    on published.topic = $2 and published.key = $1 and not published.deleted
