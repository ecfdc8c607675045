-- Lets the next one migrate; losing the connection does the same.
select pg_advisory_unlock(hashtextextended('syncline.migrate', 0))
