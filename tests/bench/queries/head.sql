-- The newest number of a stream.
select head from outbox.stream where stream = $1
