-- Stores what is in stock at many places, under the locks that the transaction holds.
update warehouse.stock
   set on_hand = given.on_hand, reserved = given.reserved
  from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
       as given (sku, location, on_hand, reserved)
 where stock.sku = given.sku and stock.location = given.location
