-- Keeps the answer with the write that it tells of; a row that has expired is replaced.
insert into catalog.idempotency (key, request, status, etag, body)
values ($1, $2, $3, $4, $5)
on conflict (key) do update
   set request = excluded.request, status = excluded.status, etag = excluded.etag,
       body = excluded.body, stored_at = now()
