-- Takes the mark of this process away: it stopped cleanly.
update inbox.topic set running = null where topic = $1 and running = $2
