-- Whether a change is committed that a snapshot has not seen: $1 its xmax, $2 what ran then.
select exists (
  select from outbox.change
   where (xid >= $1::text::xid8 or xid = any ($2::text[]::xid8[]))
     and pg_visible_in_snapshot(xid, pg_current_snapshot())
) as unsealed
