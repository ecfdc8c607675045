-- A source without streams has no positions to lock.
select phase, history, rebuild, root, term, cursor, asked, complaint
from inbox.topic where topic = $1
for update
