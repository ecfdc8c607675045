-- What the source holds of each stream of these topics and of each position sent: the floor, and
-- the term of that very number. A stream that was not reported counts as 0.
select coalesce(s.stream, p.stream) as stream, s.head, s.floor, s.floor_term,
       (select case when g.last >= p.pn then g.term end
          from outbox.segment g
         where g.stream = p.stream and g.first <= p.pn
         order by g.first desc
         limit 1) as held
  from (select * from outbox.stream where topic = any ($3)) as s
  full join unnest($1::text[], $2::bigint[]) as p (stream, pn) on p.stream = s.stream
 order by 1
