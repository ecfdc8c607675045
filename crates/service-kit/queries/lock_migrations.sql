-- Two replicas that start together must not migrate at the same time; waits for the other one.
select pg_advisory_lock(hashtextextended('syncline.migrate', 0))
