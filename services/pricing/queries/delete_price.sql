-- Deletes the price, not what promotions offer, and says what was published of it.
with gone as (
  update pricing.price set currency = null, amount = null, until = null, revision = 0
   where sku = $1 and amount is not null returning sku
)
select exists (select from gone) as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from (values (true)) as one
  left join outbox.current as published
    on published.topic = $2 and published.key = $1 and not published.deleted
