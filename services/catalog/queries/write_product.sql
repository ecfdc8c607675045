-- Stores the product and appends its change: a transaction of one statement. $1 to $9 are what
-- outbox.append takes, the key among them; the product is locked before its change is appended.
with saved as (
  insert into catalog.product as stored (sku, name, categories, attributes)
  values ($2, $10, $11, $12)
  on conflict (sku) do update
     set name = excluded.name, categories = excluded.categories,
         attributes = excluded.attributes, revision = stored.revision + 1
  returning revision
)
select revision > 1 as existed,
       outbox.append($1, $2, $3, $4, $5, $6, $7, $8, $9) as version
  from saved
