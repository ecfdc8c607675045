-- The books of every stream, for `/sync/status`.
select topic, stream, pn, term, start, applied, stale, filtered, superseded, discarded, lost,
    open_cases, contradictions, duplicates, left_to_reader, unreadable
from inbox.position order by stream
