-- Closes the cases that the winners overtake, writes the journal and moves the position, at once.
-- Cases of other lanes are closed a moment later under all locks: see close_overtaken.sql.
with overtaken as (
    update inbox.cases as c
    set state = 'superseded', closed_at = clock_timestamp()
    from unnest($15::text[], $16::bigint[], $17::bigint[]) as winner (key, version, pn)
    where c.topic = (select topic from inbox.position where stream = $1)
        and c.key = winner.key and c.state = 'open'
        and (c.stream = $1 or c.stream is null)
        and coalesce((c.history, c.version) < ($18, winner.version), c.pn < winner.pn)
    returning c.pn, c.rebuild
), journal as (
    insert into inbox.journal (stream, rebuild, first, last, term, via, applied, stale, cases,
        written_at, received_at, lock_us, gate_us, apply_us)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
), closed as (
    select count(*) as cases from overtaken where pn is not null and rebuild = $2
)
update inbox.position as p
set pn = $4, term = $5,
    applied = p.applied + $7,
    stale = p.stale + cardinality($8::bigint[]),
    open_cases = p.open_cases + cardinality($9::bigint[]) - closed.cases,
    superseded = p.superseded + closed.cases,
    contradictions = p.contradictions + $19
from closed
where p.stream = $1
