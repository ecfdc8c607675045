-- Marking raises gen and high and keeps low: what a worker has yet to notice only grows. Keys are
-- locked in the order in which the worker locks them, whatever the collation of the database.
insert into inbox.dirty as d (sink, key, stream, low, high)
select sink, key, stream, min(pn), max(pn)
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as mark (sink, key, stream, pn)
group by sink, key, stream
order by sink collate "C", key collate "C", stream collate "C"
on conflict (sink, key, stream) do update
set gen = nextval('inbox.gen'), high = greatest(d.high, excluded.high)
