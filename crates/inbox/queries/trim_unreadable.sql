-- The newest of each stream are kept: garbage must not fill the database.
delete from inbox.unreadable
where stream = $1
    and id in (
        select id from inbox.unreadable where stream = $1 order by last_at desc, id desc offset $2
    )
