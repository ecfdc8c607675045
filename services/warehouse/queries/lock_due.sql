-- Those of these reservations that are still open and due, once their stock is locked.
select id, sku, location, quantity
  from warehouse.reservation
 where id = any($1) and state = 'open' and expires_at <= clock_timestamp()
 order by id
   for update
