-- What these copies were built from: where any of it is another, what was read from the sources
-- before may belong to a past that is gone. The first columns tell a database that was restored. A
-- number's term counts only where the source does not say its own: clean moments of another term
-- come from calls that did.
select c.system_identifier, l.timeline_id, 'inbox.identity'::regclass::oid::bigint as relation,
    t.topic, t.root, t.rebuild, t.history, t.phase, p.stream, coalesce(t.term, p.term) as term,
    p.lost
from pg_control_system() as c, pg_control_checkpoint() as l, inbox.topic as t
left join inbox.position as p using (topic)
where t.topic = any($1)
order by t.topic, p.stream
