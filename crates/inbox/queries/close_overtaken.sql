-- Closes cases that a newer version overtook by another lane; all positions are locked.
with overtaken as (
    update inbox.cases as c
    set state = 'superseded', closed_at = clock_timestamp()
    from inbox.versions as v
    where c.topic = $1 and c.state = 'open' and v.topic = c.topic and v.key = c.key
        and (v.history, v.version) > (c.history, c.version)
    returning c.key, c.stream, c.pn, c.rebuild
), closed as (
    select stream, count(*) as cases
    from overtaken
    where pn is not null and rebuild = $2
    group by stream
), books as (
    update inbox.position as p
    set open_cases = p.open_cases - closed.cases, superseded = p.superseded + closed.cases
    from closed
    where p.stream = closed.stream
)
select distinct key from overtaken order by key
