-- What a sync is asked with.
select stream, pn, term from inbox.position where topic = $1 order by stream
