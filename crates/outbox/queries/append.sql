-- Appends one change in the caller's transaction.
select outbox.append($1, $2, $3, $4, $5, $6, $7, $8, $9) as version
