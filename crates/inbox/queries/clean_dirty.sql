-- Forgets what was done; a row that was marked meanwhile stays, for the numbers above those done,
-- and waits from now on like one that was just made. Each is looked up by itself, in the order in
-- which marks lock: a plan that was made while hardly any was dirty must not search them all.
with done as materialized (
    select d.sink, d.key, d.stream, d.gen = worked.gen as unchanged, worked.high
    from (
        select key, stream, gen, high
        from unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[])
            as worked (key, stream, gen, high)
        order by key collate "C", stream collate "C"
    ) as worked
    cross join lateral (
        select sink, key, stream, gen
        from inbox.dirty
        where sink = $1 and key = worked.key and stream = worked.stream
        for update
    ) as d
), kept as (
    update inbox.dirty as d
    set low = done.high + 1, since = clock_timestamp()
    from done
    where not done.unchanged and (d.sink, d.key, d.stream) = (done.sink, done.key, done.stream)
)
delete from inbox.dirty as d
using done
where done.unchanged and (d.sink, d.key, d.stream) = (done.sink, done.key, done.stream)
