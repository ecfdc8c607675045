-- The newest version of each of these records that was heard of, none of one that is no longer, and
-- whether one is set aside.
select topic, key, case when not v.deleted then v.version end as version,
    exists (
        select from inbox.cases as c
        where (c.topic, c.key) = (wanted.topic, wanted.key) and c.state = 'open'
    ) as has_open_case
from unnest($1::text[], $2::text[]) as wanted (topic, key)
left join inbox.versions as v using (topic, key)
