-- The least that a source must write for a change: the row and its change, in one round trip.
with changed as (
    update limits.source set changed = changed + 1 where id = $1 returning id
)
insert into limits.change (source, payload) select id, $2 from changed
