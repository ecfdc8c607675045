-- The snapshot has replaced whatever older rebuilds had set aside; their books are archived.
with closed as (
    update inbox.cases
    set state = 'superseded', closed_at = clock_timestamp()
    where topic = $1 and state = 'open' and rebuild < $2
    returning key
)
select distinct key from closed where key is not null order by key
