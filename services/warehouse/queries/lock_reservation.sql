-- Takes the lock of a reservation's stock, then its own: every end of it comes this way, so there
-- is one only. What it says of the rows and of the time holds after the wait for the locks.
with wanted as materialized (
  select sku, location from warehouse.reservation where id = $1
), stock as materialized (
  select stock.sku, stock.location, stock.on_hand, stock.reserved
    from warehouse.stock join wanted using (sku, location)
     for update of stock
), reservation as materialized (
  select sku, location, quantity, expires_at, state
    from warehouse.reservation
   where id = $1 and (select count(*) from stock) >= 0
     for update
)
select reservation.sku, reservation.location, reservation.quantity, reservation.expires_at,
       reservation.state, stock.on_hand, stock.reserved, clock_timestamp() as at,
       exists (select from warehouse.product where sku = reservation.sku) as known,
       published.version, left(encode(sha256(published.payload), 'hex'), 8) as digest
  from reservation
  left join stock using (sku, location)
  left join outbox.current as published
    on published.topic = $2 and published.key = reservation.sku || '/' || reservation.location
   and not published.deleted
