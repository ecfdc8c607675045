-- The recorded try of this stream, under the lock of its position. Nobody is making it any more: it
-- was survived, or failed, as one's own did in any case, or else its process died of it.
select first, last, suspect, times, survived, failed or process = $2 as failed
from inbox.attempt where stream = $1
