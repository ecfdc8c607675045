-- A category changes while no product is being written, so that the search for the documents that
-- show it, which follows in the same transaction, sees every one of them.
select pg_advisory_xact_lock(hashtextextended('search.category', 0));
