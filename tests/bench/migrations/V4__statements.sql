-- Counts what a server carries out, where it was started so that it can.
create extension if not exists pg_stat_statements;
