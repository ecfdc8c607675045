-- Stores the winners of a page, in key order; positions are locked, so none is overtaken meanwhile.
insert into inbox.versions as v (topic, key, history, version, deleted, digest, seen)
select $1, key, $2, version, digest is null, digest, $3
from unnest($4::text[], $5::bigint[], $6::bytea[]) as winner (key, version, digest)
on conflict (topic, key) do update
set history = excluded.history, version = excluded.version, deleted = excluded.deleted,
    digest = excluded.digest, seen = excluded.seen
where (excluded.history, excluded.version) >= (v.history, v.version)
