-- What a topic's contract says about its changes.
insert into outbox.topic (topic, lane, schema) values ($1, $2, $3)
on conflict (topic) do update set lane = excluded.lane, schema = excluded.schema
