-- Stores what is in stock, under the lock that the transaction holds, and why it changed.
with noted as (
  insert into warehouse.adjustment (sku, location, delta, reason) values ($1, $2, $5, $6)
)
update warehouse.stock set on_hand = $3, reserved = $4 where sku = $1 and location = $2
