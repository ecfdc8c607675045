-- Writes the winners, closes the cases that they overtake, writes the journal and moves the
-- position, at once. A winner that another stream has overtaken since the gate is left out; then
-- the books do not balance, and their check refuses everything. Cases of other lanes are closed a
-- moment later under all locks: see close_overtaken.sql.
with written as (
    insert into inbox.versions as v (topic, key, history, version, deleted, digest, seen)
    select $2, key, $3, version, digest is null, digest, $4
    from unnest($5::text[], $6::bigint[], $7::bytea[]) as winner (key, version, digest)
    on conflict (topic, key) do update
    set history = excluded.history, version = excluded.version, deleted = excluded.deleted,
        digest = excluded.digest, seen = excluded.seen
    where (excluded.history, excluded.version) > (v.history, v.version)
    returning true
), overtaken as (
    update inbox.cases as c
    set state = 'superseded', closed_at = clock_timestamp()
    from unnest($5::text[], $6::bigint[], $8::bigint[]) as winner (key, version, pn)
    where c.topic = $2 and c.key = winner.key and c.state = 'open'
        and (c.stream = $1 or c.stream is null)
        and coalesce((c.history, c.version) < ($3, winner.version), c.pn < winner.pn)
    returning c.pn, c.rebuild
), journal as (
    insert into inbox.journal (stream, rebuild, first, last, term, via, applied, stale, cases,
        written_at, received_at, lock_us, gate_us, apply_us)
    values ($1, $4, $9, $10, $11, $12, cardinality($5::text[]), $13, $14, $15, $16, $17, $18, $19)
), closed as (
    select count(*) as cases from overtaken where pn is not null and rebuild = $4
)
update inbox.position as p
set pn = $10, term = $11,
    applied = p.applied + (select count(*) from written),
    stale = p.stale + cardinality($13::bigint[]),
    open_cases = p.open_cases + cardinality($14::bigint[]) - closed.cases,
    superseded = p.superseded + closed.cases,
    contradictions = p.contradictions + $20
from closed
where p.stream = $1
