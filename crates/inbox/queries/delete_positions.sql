-- Replaced, not united: numbers of another past must not survive.
delete from inbox.position where topic = $1
