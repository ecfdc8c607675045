-- Remembers up to where the broker has each stream, so that a successor repeats little.
insert into outbox.publish_mark as m (stream, pn)
select * from unnest($1::text[], $2::bigint[]) as mark (stream, pn) order by stream
on conflict (stream) do update set pn = excluded.pn where m.pn is distinct from excluded.pn
