-- Commits with the page, so that a rebuild goes on where it stopped.
update inbox.topic set phase = $2, cursor = $3 where topic = $1
