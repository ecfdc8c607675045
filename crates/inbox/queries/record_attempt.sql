-- Committed before the try begins, by a connection of its own.
insert into inbox.attempt (stream, topic, first, last, suspect, times, survived, failed, process)
values ($1, $2, $3, $4, $5, $6, false, false, $7)
on conflict (stream) do update
set first = excluded.first, last = excluded.last, suspect = excluded.suspect,
    times = excluded.times, survived = false, failed = false, process = excluded.process
