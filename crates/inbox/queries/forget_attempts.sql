-- The copy has passed what was waiting when it started: whatever killed the process is behind it.
delete from inbox.attempt where topic = $1
