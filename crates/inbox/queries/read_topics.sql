-- Every copy and what it is doing, for `/sync/status`.
select topic, phase, history, rebuild, root, term, cursor, asked, complaint,
    (
        select count(*) from inbox.cases as c where c.topic = t.topic and c.state = 'open'
    ) as open_cases
from inbox.topic as t order by topic
