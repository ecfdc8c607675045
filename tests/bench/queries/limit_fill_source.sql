-- Rows enough that writers seldom meet at one.
insert into limits.source (id) select generate_series(1, $1::integer)
