-- Whatever became of its row: a key that stands in the snapshot is not swept.
update inbox.versions set seen = $3 where topic = $1 and key = any($2) and seen < $3
