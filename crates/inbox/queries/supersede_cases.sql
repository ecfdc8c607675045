-- A page's rows overtake cases of whatever lane; all positions of the topic are locked.
with overtaken as (
    update inbox.cases as c
    set state = 'superseded', closed_at = clock_timestamp()
    from unnest($2::text[], $3::bigint[]) as winner (key, version)
    where c.topic = $1 and c.key = winner.key and c.state = 'open'
        and coalesce((c.history, c.version) <= ($4, winner.version), true)
    returning c.stream, c.pn, c.rebuild
), closed as (
    select stream, count(*) as cases
    from overtaken
    where pn is not null and rebuild = $5
    group by stream
)
update inbox.position as p
set open_cases = p.open_cases - closed.cases, superseded = p.superseded + closed.cases
from closed
where p.stream = closed.stream
