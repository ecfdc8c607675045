-- Keeps the record that was tried alone.
release savepoint record
