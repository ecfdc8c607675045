-- Enters a consumer and what it says of itself, unless the name belongs to another identity.
-- Values are set, never maximised: a consumer that was restored stands where it says it stands.
-- $3 its topics, $4 whether it reports positions, $5 to $8 these, $9 the tick that it holds until
-- its first report.
with entered as (
  insert into outbox.consumer as c (consumer, identity, seen_at)
  values ($1, $2, now())
  on conflict (consumer) do update set seen_at = excluded.seen_at
   where c.identity = excluded.identity
  returning consumer
),
topic as (
  insert into outbox.consumer_topic as t (consumer, topic, hold_n)
  select consumer, topic, case when not $4 then $9::bigint end
    from entered, unnest($3::text[]) as topic
   order by topic
  on conflict (consumer, topic) do update
     set hold_n = case when not $4 then coalesce(t.hold_n, excluded.hold_n) end
   where t.hold_n is distinct from case when not $4 then coalesce(t.hold_n, excluded.hold_n) end
),
unreported as (
  delete from outbox.consumer_position p
   using entered e
   where $4 and p.consumer = e.consumer and p.topic = any ($3) and p.stream <> all ($5::text[])
),
position as (
  insert into outbox.consumer_position as p (consumer, stream, topic, pn, term, confirmed_at)
  select e.consumer, r.stream, r.topic, r.pn, r.term, now()
    from entered e,
         unnest($5::text[], $6::text[], $7::bigint[], $8::uuid[]) as r (stream, topic, pn, term)
   order by r.stream
  on conflict (consumer, stream) do update
     set pn = excluded.pn, term = excluded.term, confirmed_at = excluded.confirmed_at
   where (p.pn, p.term) is distinct from (excluded.pn, excluded.term)
)
select exists (select from entered) as entered
