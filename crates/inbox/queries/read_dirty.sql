-- A batch for one worker, which remembers gen and high of every row. What waits longest comes
-- first, and another mark does not change how long: neither a late nor a busy key starves.
select key, stream, gen, high from inbox.dirty where sink = $1 order by since limit $2
