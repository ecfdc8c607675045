-- The copy stops, and says why.
update inbox.topic set phase = $2, complaint = $3 where topic = $1
