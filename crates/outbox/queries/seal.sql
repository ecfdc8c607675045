-- One tick: reads what became visible since S0, numbers it and advances the fence, in one durable
-- statement. $1 n and $2 term of the lease, $3 S0. Everything hangs on the row that `advanced`
-- returns; without it nothing is stored. What `guard` reads is no fence: only the update sees what
-- a rival has committed meanwhile.
-- Where it found at most $4 changes of $5 bytes, it answers a row for each, which spares reading
-- them again; otherwise one row.
with change as materialized (
  select topic, lane, id, xid::text::bigint as xid, tableoid as slot, ctid as place,
         coalesce(octet_length(payload), 0) as bytes
    from outbox.change
   where (xid >= pg_snapshot_xmax($3::text::pg_snapshot)
          or xid = any (array(select pg_snapshot_xip($3::text::pg_snapshot))))
     and pg_visible_in_snapshot(xid, pg_current_snapshot())
),
guard as materialized (
  select n = $1 and term = $2 as mine, not pg_is_in_recovery() as on_primary,
         pg_snapshot_xmin(pg_current_snapshot()) >= pg_snapshot_xmin($3::text::pg_snapshot)
         and pg_snapshot_xmax(pg_current_snapshot()) >= pg_snapshot_xmax($3::text::pg_snapshot)
           as forward
    from outbox.tick
),
advanced as (
  update outbox.tick set n = n + 1, s1 = pg_current_snapshot()
   where n = $1 and term = $2 and exists (select from change)
     and (select on_primary and forward from guard)
  returning n, s1, term, root
),
ranked as (
  select topic, lane, id, xid, slot, place,
         row_number() over stream as rank,
         (row_number() over stream - 1) / 1000 as chunk
    from change, advanced
  window stream as (partition by topic, lane order by id)
),
chunk as (
  select topic, lane, chunk, min(rank) as first, max(rank) as last,
         min(id) as lowest_id, max(id) as highest_id,
         min(xid)::text::xid8 as lowest_xid, max(xid)::text::xid8 as highest_xid
    from ranked
   group by topic, lane, chunk
),
numbered as (
  select c.topic || '.' || c.lane as stream, c.topic, c.lane, c.chunk,
         coalesce(s.head, 0) + c.first as first, coalesce(s.head, 0) + c.last as last,
         coalesce(s.term, a.root) as before, a.term, a.n, a.s1, c.lowest_id, c.highest_id,
         c.lowest_xid, c.highest_xid
    from chunk c
   cross join advanced a
    left join outbox.stream s on s.stream = c.topic || '.' || c.lane
),
segment as (
  insert into outbox.segment
    (stream, first, last, term, previous_term, n, s0, s1, lowest_id, highest_id,
     lowest_xid, highest_xid)
  select stream, first, last, term, case when chunk = 0 then before else term end, n,
         $3::text::pg_snapshot, s1, lowest_id, highest_id, lowest_xid, highest_xid
    from numbered
),
head as (
  insert into outbox.stream as s (stream, topic, lane, head, term, floor, floor_term)
  select stream, topic, lane, max(last), (array_agg(term))[1], 0, (array_agg(before))[1]
    from numbered
   group by stream, topic, lane
  on conflict (stream) do update set head = excluded.head, term = excluded.term
  returning s.stream, s.topic, s.head
),
-- By their places, since nothing moves a row between the parts of one statement.
few as (
  select n.stream, n.first, n.first + r.rank - 1 - 1000 * r.chunk as pn, n.term,
         case when r.chunk = 0 then n.before else n.term end as previous_term, c.*
    from ranked r
    join numbered n using (topic, lane, chunk)
   cross join lateral (
     select key, version, op, event, tenant, trace, schema, occurred_at, payload
       from outbox.change
      where ctid = r.place and tableoid = r.slot
      limit 1
   ) as c
   where (select count(*) <= $4::bigint and sum(bytes) <= $5::bigint from change)
)
select (select count(*) from change) as found,
       (select n from advanced) as n,
       (select s1::text from advanced) as s1,
       guard.mine,
       guard.on_primary,
       guard.forward,
       heads.streams,
       heads.topics,
       heads.heads,
       few.*
  from guard
 cross join (select array_agg(stream) as streams, array_agg(topic) as topics,
                    array_agg(head) as heads
               from head) as heads
  left join few on true
 order by few.stream, few.pn
