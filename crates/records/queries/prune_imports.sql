-- Uploads that last moved more than a day ago, once their refusals are gone.
delete from records.import
 where id in (
   select id from records.import
    where stored_at <= now() - interval '24 hours' order by stored_at limit 1000
 )
