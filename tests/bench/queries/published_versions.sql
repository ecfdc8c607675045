-- The products that there are, with the versions that were published; none for one whose newest
-- state asks to be refused, of which a copy keeps what it had.
select key, case when position('"refuse":true'::bytea in payload) = 0 then version end as version
  from outbox.current
 where topic = 'catalog.products' and not deleted
