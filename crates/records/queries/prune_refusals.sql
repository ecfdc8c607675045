-- Refusals of uploads that last moved more than a day ago; a thousand at a time.
delete from records.refusal
 where (import, line, number) in (
   select refusal.import, refusal.line, refusal.number
     from records.import
     join records.refusal on refusal.import = import.id
    where import.stored_at <= now() - interval '24 hours' limit 1000
 )
