-- The gate: locks the keys in order, so that batches of several streams cannot block each other.
select key, history, version, digest
from inbox.versions
where topic = $1 and key = any($2)
order by key
for update
