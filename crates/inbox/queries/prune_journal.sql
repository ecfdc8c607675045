-- One bounded piece of what is older than so many days, oldest first: ids rise with time. Of all
-- processes one is at it.
with leave as (
    select pg_try_advisory_xact_lock(hashtextextended('inbox.prune', 0)) as is_ours
), oldest as (
    select id, at from inbox.journal order by id limit $2
)
delete from inbox.journal as j
using oldest, leave
where j.id = oldest.id and is_ours and oldest.at < clock_timestamp() - make_interval(days => $1)
