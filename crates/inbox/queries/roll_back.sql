-- The record is out, and the rest goes on.
rollback to savepoint record
