-- Makes a transaction one that has written: it has a number from here on.
select pg_current_xact_id()::text as xid
