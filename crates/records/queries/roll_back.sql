-- Takes back the record that was tried alone, and nothing else of the batch.
rollback to savepoint record
