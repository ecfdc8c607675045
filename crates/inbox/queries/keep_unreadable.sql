-- Kept once per content, however often it is delivered.
insert into inbox.unreadable as u (stream, via, digest, body, body_bytes, reason)
values ($1, $2, $3, $4, $5, $6)
on conflict (stream, digest) do update set times = u.times + 1, last_at = clock_timestamp()
