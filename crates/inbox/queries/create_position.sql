-- A stream that was never heard of starts at its root, so that nothing in it is missed.
insert into inbox.position (stream, topic, pn, term, start)
select stream, $1, 0, $2, 0 from unnest($3::text[]) as found (stream) order by stream
on conflict (stream) do nothing
