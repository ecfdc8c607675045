-- Counted in memory and flushed now and then: a duplicate must not cost a durable write. A batch
-- that holds the position is not waited for.
update inbox.position
set duplicates = duplicates + $2, left_to_reader = left_to_reader + $3,
    unreadable = unreadable + $4
where stream = (select stream from inbox.position where stream = $1 for update skip locked)
