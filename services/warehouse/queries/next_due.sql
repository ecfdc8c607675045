-- The open reservations that end first, and in how many milliseconds; without any left it is due.
select id, sku, location,
       ceil(extract(epoch from expires_at - clock_timestamp()) * 1000)::bigint as wait_ms
  from warehouse.reservation
 where state = 'open'
 order by expires_at, id
 limit $1
