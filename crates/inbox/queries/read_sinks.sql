-- For each sink that ever worked or has to: when it had everything up to a number, and whether
-- something of it is still dirty: null where neither stream nor number is known, and nothing was
-- marked without one. $1 topic, $2 stream, $3 number. Sinks are few and notes are many,
-- so the names are found by leaps.
with recursive leap as (
    (select sink from inbox.cleaned order by sink limit 1)
    union all
    select (select c.sink from inbox.cleaned as c where c.sink > leap.sink order by c.sink limit 1)
    from leap where leap.sink is not null
), sink as (
    select sink from leap where sink is not null
    union
    select sink from inbox.dirty
)
select sink.sink, c.at as clean_at,
    exists (
        select from inbox.dirty as d
        where d.sink = sink.sink and (d.stream = $2 and d.low <= $3 or d.stream = '')
    ) or case when $3 is not null then false end as is_dirty
from sink
left join lateral (
    select c.at from inbox.cleaned as c join inbox.topic as t on t.topic = $1
    where c.sink = sink.sink and c.stream = $2 and c.rebuild = t.rebuild and c.pn >= $3
    order by c.pn limit 1
) as c on true
order by sink.sink
