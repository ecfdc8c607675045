-- Which of these counts hold already. They are neither locked nor written, so that a repeated
-- import is cheap.
select given.sku, given.location,
       exists (select from warehouse.product where product.sku = given.sku) as known
  from unnest($1::text[], $2::text[], $3::bigint[]) as given (sku, location, on_hand)
  join warehouse.stock using (sku, location)
 where stock.on_hand = given.on_hand
