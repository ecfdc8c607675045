-- A rebuild starts at the heads, before the first page is read.
insert into inbox.position (stream, topic, pn, term, start)
select stream, $1, pn, term, pn
from unnest($2::text[], $3::bigint[], $4::uuid[]) as head (stream, pn, term)
order by stream
