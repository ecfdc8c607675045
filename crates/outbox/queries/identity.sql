-- Whose name this is, if it is anybody's.
select identity from outbox.consumer where consumer = $1
