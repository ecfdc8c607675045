-- Stores how a reservation ended and what that leaves in stock, under the locks that the
-- transaction holds.
with ended as (
  update warehouse.reservation
     set state = $6, ended_at = clock_timestamp()
   where id = $5 and state = 'open'
)
update warehouse.stock set on_hand = $3, reserved = $4 where sku = $1 and location = $2
