-- Stores the price and says what promotions offer and what is published: two round trips a write.
-- The time is read after the row was locked, so that decisions on one product follow each other.
with saved as (
  insert into pricing.price as stored (sku, currency, amount, revision)
  values ($1, $2, $3, 1)
  on conflict (sku) do update
     set currency = excluded.currency, amount = excluded.amount, revision = stored.revision + 1
  returning sku, currency, amount, offers, revision, clock_timestamp() as decided_at
)
select saved.sku, saved.currency, saved.amount, saved.offers, saved.decided_at,
       saved.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest,
       exists (select from pricing.product where sku = $1) as is_known
  from saved
  left join outbox.current as published
    on published.topic = $4 and published.key = $1 and not published.deleted
