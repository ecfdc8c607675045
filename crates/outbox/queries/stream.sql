-- One stream, what it holds at a position, and whether this server may answer for it.
select pg_is_in_recovery() as standby, s.head, s.floor, s.floor_term,
       (select case when g.last >= $2 then g.term end
          from outbox.segment g
         where g.stream = $1 and g.first <= $2
         order by g.first desc
         limit 1) as held,
       t.root
  from outbox.tick t
  left join outbox.stream s on s.stream = $1
