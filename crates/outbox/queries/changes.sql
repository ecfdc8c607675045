-- Re-reads one segment: the rows between its two snapshots, in order, behind the first $9 of them.
-- $3 S0 and $4 S1; without `xid < xmax` it would scan everything younger. At most $7 rows and $8
-- bytes, but one row always.
with held as materialized (
  select c.*, row_number() over (order by c.id) as place
    from outbox.change c
   where c.topic = $1 and c.lane = $2
     and (c.xid >= pg_snapshot_xmax($3::text::pg_snapshot)
          or c.xid = any (array(select pg_snapshot_xip($3::text::pg_snapshot))))
     and c.xid < pg_snapshot_xmax($4::text::pg_snapshot)
     and pg_visible_in_snapshot(c.xid, $4::text::pg_snapshot)
     and c.id between $5 and $6
),
weighed as (
  select held.*,
         sum(coalesce(octet_length(payload), 0) + octet_length(key) + 320) over (order by place)
           as weight
    from held
   where place > $9
)
select (select count(*) from held) as found, key, version, op, event, tenant, trace, schema,
       occurred_at, payload
  from weighed
 where (weight <= $8 or place = $9 + 1) and place <= $9 + $7
 order by place
