-- What makes a repeat of a write harmless: one row per Idempotency-Key, with what was asked, as a
-- digest, and what was answered.
create table records.answer (
  key text collate "C" not null,
  request bytea not null,
  status smallint not null,
  etag text,
  location text,
  waits_for text,
  body bytea,
  stored_at timestamptz not null default now(),
  constraint answer_pk primary key (key)
);
create index answer_stored_at on records.answer (stored_at);

grant usage on schema records to syncline_service;
grant select, insert, update, delete on records.answer to syncline_service;
