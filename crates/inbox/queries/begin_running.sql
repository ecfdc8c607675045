-- Puts the mark of this process; a mark that was left over tells of an unclean stop. It may also be
-- that of a process that still runs, beside which a moment of caution costs little.
update inbox.topic as t
set running = $2
from (select topic, running from inbox.topic where topic = $1 for update) as before
where t.topic = before.topic
returning before.running is not null as unclean
