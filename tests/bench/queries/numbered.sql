-- Every change of a stream after a number, with its own number, when it was sealed, and the number
-- that the writer gave it; deletes have none, and are told apart by key and version.
select s.first - 1 + row_number() over (partition by s.first order by c.id) as pn,
       c.key, c.version, c.op,
       (regexp_match(convert_from(c.payload, 'UTF8'), '"seq":(\d+)'))[1]::bigint as seq,
       (extract(epoch from s.sealed_at) * 1000000)::bigint as sealed_us
  from outbox.segment as s
  join outbox.stream as t using (stream)
 cross join lateral (
    select * from outbox.change as c
     where c.topic = t.topic and c.lane = t.lane
       and c.xid between s.lowest_xid and s.highest_xid
       and (c.xid >= pg_snapshot_xmax(s.s0) or c.xid = any (array(select pg_snapshot_xip(s.s0))))
       and pg_visible_in_snapshot(c.xid, s.s1)
       and c.id between s.lowest_id and s.highest_id
  ) as c
 where s.stream = $1 and s.first > $2
