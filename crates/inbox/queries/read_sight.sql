-- Where a copy stands and what its sink has yet to notice, as one moment saw both: between two
-- statements a number could be applied and what it made dirty not be seen.
with dirty as (
    select stream, min(low) as low from inbox.dirty where sink = $2 group by stream
)
select t.phase, t.rebuild, p.stream, p.pn, p.term, d.low,
    exists (select from dirty where stream = '') as has_unnumbered
from inbox.topic as t
left join inbox.position as p using (topic)
left join dirty as d on d.stream = p.stream
where t.topic = $1
