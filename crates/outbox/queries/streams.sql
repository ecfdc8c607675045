-- What a relay that took over knows of its streams: heads, and up to where the broker has them.
select s.stream, s.topic, s.head, s.term, coalesce(m.pn, 0) as mark
  from outbox.stream s
  left join outbox.publish_mark m using (stream)
 order by s.stream
