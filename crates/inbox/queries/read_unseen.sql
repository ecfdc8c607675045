-- Keys that the source no longer knows, in order; the next ones once these are buried.
select key from inbox.versions where topic = $1 and seen < $2 and key > $3 order by key limit $4
for update
