-- The commits under which the index may be trusted.
select current, pending from search.index_commit;
