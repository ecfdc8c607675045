-- The changes that follow a number, read again as they were sealed: segments in order, and of each
-- the rows between its two snapshots. $1 stream, $2 the number; at most $3 rows and $4 bytes, but
-- one row always. A segment whose rows are gone answers one row without a change. The xids bound
-- what is scanned; all segments of a tick have the same snapshots.
with segment as materialized (
  select first, last, term, previous_term, topic, lane, s1, lowest_id, highest_id,
         lowest_xid, highest_xid, pg_snapshot_xmax(s0) as since,
         array(select pg_snapshot_xip(s0)) as running
    from outbox.segment
    join (select stream, topic, lane from outbox.stream) as s using (stream)
   where stream = $1 and last > $2::bigint and first <= $2 + $3::bigint
     and first >= coalesce((select max(first) from outbox.segment
                             where stream = $1 and first <= $2 + 1), 0)
),
held as materialized (
  select g.first, g.last, g.term, g.previous_term, c.*
    from segment g
    left join lateral (
      select count(*) over () as found, g.first - 1 + row_number() over (order by id) as pn,
             key, version, op, event, tenant, trace, schema, occurred_at, payload
        from outbox.change
       where topic = g.topic and lane = g.lane
         and xid between g.lowest_xid and g.highest_xid
         and (xid >= g.since or xid = any (g.running))
         and pg_visible_in_snapshot(xid, g.s1)
         and id between g.lowest_id and g.highest_id
    ) as c on c.pn > $2
),
weighed as (
  select held.*,
         sum(coalesce(octet_length(payload), 0) + octet_length(key) + 320) over (order by pn)
           as weight
    from held
)
select first, last, term, previous_term, found, pn, key, version, op, event, tenant, trace, schema,
       occurred_at, payload
  from weighed
 where pn is null or pn <= $2 + $3 and (weight <= $4 or pn = $2 + 1)
 order by first, pn
