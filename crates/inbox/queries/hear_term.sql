-- Before a moment counts as clean that this answer could prove: see what copies were built from.
update inbox.topic set term = $2 where topic = $1
