-- What became of a reservation is told for a day; a thousand at a time, so that no delete is long.
delete from warehouse.reservation
 where id in (
   select id from warehouse.reservation
    where state <> 'open' and ended_at <= now() - interval '24 hours'
    order by ended_at limit 1000
 )
