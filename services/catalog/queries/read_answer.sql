-- The answer that was given to this key; a statement after the lock, or its snapshot may be older.
select request, status, etag, body
  from catalog.idempotency
 where key = $1 and stored_at > now() - interval '24 hours'
