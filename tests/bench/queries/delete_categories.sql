-- Categories that are no longer.
delete from bench.categories where id = any($1)
