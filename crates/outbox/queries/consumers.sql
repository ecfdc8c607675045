-- Who follows this source, and where each stands.
select c.consumer, c.seen_at, p.stream, p.pn, p.term, p.confirmed_at
  from outbox.consumer c
  left join outbox.consumer_topic t using (consumer)
  left join outbox.consumer_position p on p.consumer = c.consumer and p.topic = t.topic
 order by c.consumer, t.topic, p.stream
