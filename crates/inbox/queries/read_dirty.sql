-- A batch for one worker, which remembers gen and high of every row.
select key, stream, gen, high from inbox.dirty where sink = $1 order by key, stream limit $2
