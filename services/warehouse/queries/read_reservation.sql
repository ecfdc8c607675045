-- A reservation; one whose time is over has expired, even if nobody has taken it back yet.
select sku, location, quantity, expires_at,
       case when state = 'open' and expires_at <= clock_timestamp() then 'expired' else state end
         as state
  from warehouse.reservation where id = $1
