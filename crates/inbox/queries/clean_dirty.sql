-- Forgets what was done; a row that was marked meanwhile stays, for the numbers above those done,
-- and waits from now on like one that was just made.
with done as (
    select d.sink, d.key, d.stream, d.gen = worked.gen as unchanged, worked.high
    from inbox.dirty as d
    join unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[])
        as worked (key, stream, gen, high) using (key, stream)
    where d.sink = $1
    order by d.sink, d.key, d.stream
    for update of d
), kept as (
    update inbox.dirty as d
    set low = done.high + 1, since = clock_timestamp()
    from done
    where not done.unchanged and (d.sink, d.key, d.stream) = (done.sink, done.key, done.stream)
)
delete from inbox.dirty as d
using done
where done.unchanged and (d.sink, d.key, d.stream) = (done.sink, done.key, done.stream)
