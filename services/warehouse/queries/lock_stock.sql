-- Takes the lock of this stock. What it says of the row and of the time holds after the wait for
-- the lock; what is published is of the moment before it, so the append must look again.
with held as materialized (
  select on_hand, reserved
    from warehouse.stock where sku = $1 and location = $2 for update
)
select held.on_hand, held.reserved, clock_timestamp() as at,
       exists (select from warehouse.product where sku = $1) as known,
       exists (
         select from outbox.current as place
          where place.topic = $4 and place.key = $2 and not place.deleted
       ) as placed,
       published.version, left(encode(sha256(published.payload), 'hex'), 8) as digest
  from held
  left join outbox.current as published
    on published.topic = $3 and published.key = $1 || '/' || $2 and not published.deleted
