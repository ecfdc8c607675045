-- Keeps the answer with the write that it tells of; a row that has expired is replaced.
insert into records.answer (key, request, status, etag, location, waits_for, body)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (key) do update
   set request = excluded.request, status = excluded.status, etag = excluded.etag,
       location = excluded.location, waits_for = excluded.waits_for, body = excluded.body,
       stored_at = now()
