-- A topic that this database never followed starts as new.
insert into inbox.topic (topic) values ($1) on conflict (topic) do nothing
