-- A batch for one worker, which remembers gen and high of every row. What waits longest comes first,
-- and marking again does not change how long it waits: neither a late nor a busy key starves.
select key, stream, gen, high from inbox.dirty where sink = $1 order by since limit $2
