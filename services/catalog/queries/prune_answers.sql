-- Answers are kept for a day; a thousand at a time, so that no delete is long.
delete from catalog.idempotency
 where key in (
   select key from catalog.idempotency
    where stored_at <= now() - interval '24 hours' order by stored_at limit 1000
 )
