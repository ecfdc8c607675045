-- Told to every source, which refuses the same consumer name from another database.
select identity from inbox.identity
