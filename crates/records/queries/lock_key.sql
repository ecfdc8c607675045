-- One request per Idempotency-Key at a time; false while another one is at work with it.
select pg_try_advisory_xact_lock(hashtextextended('records.answer ' || $1, 0)) as free
