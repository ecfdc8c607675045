-- The latest change of one entity, its number, and when it got it. $1 topic, $2 key. The entity's
-- row was written by the change's own transaction, or in a savepoint of it, whose xid is larger: so
-- the index on xid finds the change at once, at that xid or a little below.
with entity as materialized (
  select c.version, c.deleted,
         (h.xid - ((h.xid - c.xmin::text::bigint) & 4294967295))::text::xid8 as xid
    from outbox.current c
   cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xid) as h
   where c.topic = $1 and c.key = $2
),
change as materialized (
  select c.*
    from entity e
   cross join lateral (
     select id, xid, lane, op, event, trace, occurred_at
       from outbox.change
      where topic = $1 and key = $2 and version = e.version and xid <= e.xid
      order by xid desc
      limit 1
   ) as c
),
segment as materialized (
  select g.*
    from change c
   cross join lateral (
     select stream, first, last, term, s1, lowest_id, highest_id, lowest_xid, highest_xid,
            sealed_at, pg_snapshot_xmax(s0) as since,
            array(select pg_snapshot_xip(s0)) as running
       from outbox.segment
      where stream = $1 || '.' || c.lane
        and c.id between lowest_id and highest_id
        and c.xid between lowest_xid and highest_xid
        and (c.xid >= pg_snapshot_xmax(s0)
             or c.xid = any (array(select pg_snapshot_xip(s0))))
        and pg_visible_in_snapshot(c.xid, s1)
      order by first desc
      limit 1
   ) as g
),
place as (
  select count(*) as found, count(*) filter (where o.id <= c.id) as place
    from segment g
   cross join change c
    join outbox.change o
      on o.topic = $1 and o.lane = c.lane
     and o.xid between g.lowest_xid and g.highest_xid
     and (o.xid >= g.since or o.xid = any (g.running))
     and pg_visible_in_snapshot(o.xid, g.s1)
     and o.id between g.lowest_id and g.highest_id
)
select pg_is_in_recovery() as standby,
       exists (select from outbox.topic where topic = $1) as known,
       e.version, e.deleted, c.lane, c.op, c.event, c.trace, c.occurred_at,
       g.stream, g.first, g.last, g.term, g.sealed_at, p.found, g.first - 1 + p.place as pn
  from (select) as answer
  left join entity e on true
  left join change c on true
  left join segment g on true
  left join place p on true
