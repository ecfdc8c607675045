-- Numbers of the past that ends here would hide those of the next one, which may be lower: what
-- they made dirty stays so without a number. A worker at one of these keys finds its row no more.
with old as (
    select d.sink, d.key, d.stream, d.since
    from inbox.dirty as d
    where d.stream = '' or d.stream in (select stream from inbox.position where topic = $1)
    order by d.sink, d.key, d.stream
    for update
), gone as (
    delete from inbox.dirty as d
    using old
    where old.stream <> '' and (d.sink, d.key, d.stream) = (old.sink, old.key, old.stream)
)
insert into inbox.dirty (sink, key, stream, low, high, since)
select sink, key, '', 0, 0, min(since) from old where stream <> '' group by sink, key
order by sink, key
on conflict (sink, key, stream) do update set gen = nextval('inbox.gen')
