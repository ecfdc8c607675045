-- Stores the product and says what is published of it: so a write has one or two round trips.
with saved as (
  insert into catalog.product as stored (sku, name, categories, attributes)
  values ($1, $2, $3, $4)
  on conflict (sku) do update
     set name = excluded.name, categories = excluded.categories,
         attributes = excluded.attributes, revision = stored.revision + 1
  returning revision
)
select saved.revision > 1 as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from saved
  left join outbox.current as published
    on published.topic = $5 and published.key = $1 and not published.deleted
