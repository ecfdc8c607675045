-- What the newest tick has seen, in the form in which it is asked with.
select pg_snapshot_xmax(s1)::text as xmax,
       array(select xip::text from pg_snapshot_xip(s1) as xip) as running
  from outbox.tick
