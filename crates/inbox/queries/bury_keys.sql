-- A tombstone of version 0 in this history: any state that the source gives the key later wins.
update inbox.versions
set history = $3, version = 0, deleted = true, digest = null, seen = $4
where topic = $1 and key = any($2)
