-- What the whole server has written and committed. Sessions tell their counts some time after what
-- they did; what is in the log by now is known at once.
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as wal_bytes,
       (select wal_sync::float8 from pg_stat_wal) as fsyncs,
       (select sum(xact_commit)::float8 from pg_stat_database) as commits
