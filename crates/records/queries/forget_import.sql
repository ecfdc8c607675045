-- A key lives for a day after its upload last moved.
delete from records.import where key = $1 and stored_at <= now() - interval '24 hours'
