-- Why stock changed is kept for thirty days; a thousand at a time, so that no delete is long.
delete from warehouse.adjustment
 where id in (
   select id from warehouse.adjustment
    where made_at <= now() - interval '30 days' order by made_at limit 1000
 )
