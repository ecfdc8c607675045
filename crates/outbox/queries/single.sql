-- One entity of the compacted stream.
select pg_is_in_recovery() as standby, c.key, c.version, c.deleted, c.payload
  from (select) as answer
  left join outbox.current c on c.topic = $1 and c.key = $2
