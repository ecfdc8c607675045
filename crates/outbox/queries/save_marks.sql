-- Remembers up to where the broker has each stream, so that a successor repeats little: worth a
-- write, but no wait for the disk. Only under the term $3: a relay that was fenced must not set
-- back what its successor saved.
with lazily as materialized (select set_config('synchronous_commit', 'off', true))
insert into outbox.publish_mark as m (stream, pn)
select mark.*
  from lazily, unnest($1::text[], $2::bigint[]) as mark (stream, pn)
 where exists (select from outbox.tick where term = $3)
 order by stream
on conflict (stream) do update set pn = excluded.pn where m.pn is distinct from excluded.pn
