-- The gate: locks the keys in the order in which they are given, so that batches of several streams
-- cannot block each other. Each is looked up by itself: a plan that was made while the table was
-- small must not become a scan of all of it.
select stored.key, stored.history, stored.version, stored.digest
from unnest($2::text[]) as wanted (key)
cross join lateral (
    select key, history, version, digest
    from inbox.versions
    where topic = $1 and key = wanted.key
    for update
) as stored
