-- The record is in; fails where its code hid an error.
release savepoint record
