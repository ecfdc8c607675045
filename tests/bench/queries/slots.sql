-- How much room the slots of the outbox take.
select sum(pg_total_relation_size(format('outbox.change_%s', slot)::regclass))::float8
       / 1048576 as mib
  from generate_series(0, 2) as slot
