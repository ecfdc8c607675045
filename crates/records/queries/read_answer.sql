-- The answer that was given to this key; a statement after the lock, or its snapshot may be older.
select request, status, etag, location, waits_for, body
  from records.answer
 where key = $1 and stored_at > now() - interval '24 hours'
