-- A product is written while no category changes: without it a category change could miss the
-- product that is just arriving, which could be composed with the old category, for ever.
select pg_advisory_xact_lock_shared(hashtextextended('search.category', 0));
