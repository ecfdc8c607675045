-- One upload per Idempotency-Key at a time, for as long as this connection lasts.
select pg_try_advisory_lock(hashtextextended('records.import ' || $1, 0)) as free
