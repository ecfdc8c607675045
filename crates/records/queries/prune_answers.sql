-- Answers are kept for a day; a thousand at a time, so that no delete is long.
delete from records.answer
 where key in (
   select key from records.answer
    where stored_at <= now() - interval '24 hours' order by stored_at limit 1000
 )
