-- At a clean stop only one's own: another process may yet have to be told what killed it.
delete from inbox.attempt where topic = $1 and ($2::uuid is null or process = $2)
