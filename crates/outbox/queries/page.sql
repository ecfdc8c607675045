-- A page of the compacted stream, deleted entities included; $4 bytes at most, but one row always.
with row as materialized (
  select key, version, deleted, payload, row_number() over (order by key) as place
    from (select key, version, deleted, payload
            from outbox.current
           where topic = $1 and key > $2
           order by key
           limit $3::bigint + 1) as ahead
),
weighed as (
  select row.*,
         sum(coalesce(octet_length(payload), 0) + octet_length(key) + 80) over (order by place)
           as weight
    from row
)
select pg_is_in_recovery() as standby, (select count(*) from row) as ahead,
       w.key, w.version, w.deleted, w.payload
  from (select) as answer
  left join weighed w on w.place <= $3 and (w.weight <= $4 or w.place = 1)
 order by w.place
