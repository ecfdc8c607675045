-- Stores the promotion; says which products it named before, and what is published of it.
with saved as (
  insert into pricing.promotion as stored (id, skus, percent_off, periods)
  values ($1, $2, $3, $4)
  on conflict (id) do update
     set skus = excluded.skus, percent_off = excluded.percent_off, periods = excluded.periods,
         named_before = stored.skus, revision = stored.revision + 1
  returning named_before, revision
)
select saved.named_before, saved.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from saved
  left join outbox.current as published
    on published.topic = $5 and published.key = $1 and not published.deleted
