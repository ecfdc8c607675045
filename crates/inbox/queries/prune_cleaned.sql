-- One bounded piece of what is older than so many days. The newest note of each stream stays: the
-- next one is compared with it. Of all processes one is at it.
with leave as (
    select pg_try_advisory_xact_lock(hashtextextended('inbox.prune', 0)) as is_ours
), old as (
    select sink, stream, rebuild, pn
    from inbox.cleaned as o
    where at < clock_timestamp() - make_interval(days => $1)
        and exists (
            select from inbox.cleaned as n
            where (n.sink, n.stream, n.rebuild) = (o.sink, o.stream, o.rebuild) and n.pn > o.pn
        )
    order by at limit $2
)
delete from inbox.cleaned as c
using old, leave
where is_ours and (c.sink, c.stream, c.rebuild, c.pn) = (old.sink, old.stream, old.rebuild, old.pn)
