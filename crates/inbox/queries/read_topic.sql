-- Read after the position was locked, since these change only under the locks of all positions.
select phase, history, rebuild, root, term, cursor, asked, complaint
from inbox.topic where topic = $1
