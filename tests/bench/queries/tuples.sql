-- Row versions that were left dead, in all tables and in the slots of the outbox.
select coalesce(sum(n_tup_upd + n_tup_del), 0)::float8 as dead,
       coalesce(sum(n_tup_upd + n_tup_del)
                filter (where schemaname = 'outbox' and relname like 'change%'), 0)::float8 as slots
  from pg_stat_user_tables
