-- What the whole server has written and committed.
select (select wal_bytes::float8 from pg_stat_wal) as wal_bytes,
       (select wal_sync::float8 from pg_stat_wal) as fsyncs,
       (select sum(xact_commit)::float8 from pg_stat_database) as commits
