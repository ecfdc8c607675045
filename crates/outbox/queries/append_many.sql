-- Appends many changes of one topic in the caller's transaction.
select outbox.append_many($1, $2, $3, $4, $5, $6, $7) as versions
