-- Read after the position was locked, since these change only under the locks of all positions.
select phase, history, rebuild, root, cursor, asked, complaint from inbox.topic where topic = $1
