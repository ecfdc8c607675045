-- Stores what is in stock, under the lock that the transaction holds.
update warehouse.stock set on_hand = $3, reserved = $4 where sku = $1 and location = $2
