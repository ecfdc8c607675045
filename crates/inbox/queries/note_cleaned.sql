-- Notes up to which number everything of each stream is clean, where that moved. Keys without a
-- number, of pages or marked in place of others, may stand for any number: nothing moves then.
insert into inbox.cleaned (sink, stream, rebuild, pn)
select $1, clean.stream, clean.rebuild, clean.pn
from (
    select p.stream, p.start, t.rebuild, least(p.pn, d.low - 1) as pn
    from inbox.position as p
    join inbox.topic as t using (topic)
    left join (
        select stream, min(low) as low from inbox.dirty where sink = $1 group by stream
    ) as d using (stream)
) as clean
left join lateral (
    select c.pn from inbox.cleaned as c
    where c.sink = $1 and c.stream = clean.stream and c.rebuild = clean.rebuild
    order by c.pn desc limit 1
) as noted on true
where clean.pn > coalesce(noted.pn, clean.start - 1)
    and not exists (select from inbox.dirty where sink = $1 and stream = '')
on conflict do nothing
