-- Statements that the whole server has carried out, where the extension counts them.
select coalesce(sum(calls), 0)::float8 as statements from pg_stat_statements
