-- May this session lead, and is this the cluster that was ticked before? The lock lasts as long as
-- the session.
select pg_is_in_recovery() as standby,
       control.system_identifier = tick.system_identifier as same_system,
       not pg_is_in_recovery() and control.system_identifier = tick.system_identifier
         and pg_try_advisory_lock(7305823147021) as locked
  from pg_control_system() as control, outbox.tick
