-- Before one record is tried alone.
savepoint record
