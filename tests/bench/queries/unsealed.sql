-- Whether a change is committed that no tick has seen.
select exists (
  select from outbox.change as c, outbox.tick as t
   where (c.xid >= pg_snapshot_xmax(t.s1) or c.xid = any (array(select pg_snapshot_xip(t.s1))))
     and pg_visible_in_snapshot(c.xid, pg_current_snapshot())
) as unsealed
