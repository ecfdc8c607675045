-- From here on one record of the batch is tried alone.
savepoint record
