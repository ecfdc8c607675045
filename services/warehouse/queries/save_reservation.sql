-- Stores a new reservation and what it leaves in stock, under the lock that the transaction holds.
with made as (
  insert into warehouse.reservation (id, sku, location, quantity, expires_at)
  values ($5, $1, $2, $6, $7)
)
update warehouse.stock set on_hand = $3, reserved = $4 where sku = $1 and location = $2
