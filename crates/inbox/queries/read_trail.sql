-- What became of one change here: $1 topic, $2 key, and where the source says that it lies, $3
-- stream and $4 number. The journal row is of the present rebuild: an older one had another past.
select t.phase, v.history, v.version, v.deleted, p.pn as position, p.start, j.via, j.received_at,
    j.at as applied_at, j.lock_us, j.gate_us, j.apply_us,
    coalesce($4 = any(j.stale), false) as is_stale, coalesce($4 = any(j.cases), false) as is_case,
    c.id as case_id, c.kind, c.version as case_version, c.pn as case_pn, c.rule, c.reason,
    c.opened_at
from inbox.topic as t
left join inbox.versions as v on v.topic = t.topic and v.key = $2
left join inbox.position as p on p.topic = t.topic and p.stream = $3
left join lateral (
    select * from inbox.journal as j
    where j.stream = p.stream and j.last >= $4 and j.rebuild = t.rebuild
    order by j.last limit 1
) as j on j.first <= $4::bigint
left join lateral (
    select * from inbox.cases as c
    where c.topic = t.topic and c.key = $2 and c.state = 'open'
    order by c.id desc limit 1
) as c on true
where t.topic = $1
