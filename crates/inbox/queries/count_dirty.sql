-- What index and caches have yet to notice, for `/sync/status`.
select sink, count(*) as keys,
    extract(epoch from clock_timestamp() - min(since))::float8 as oldest_seconds
from inbox.dirty group by sink order by sink
