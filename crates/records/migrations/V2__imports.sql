-- What makes an upload of many records resumable, and which of its lines were refused.

-- One row per upload: the prefix of the file that is done, by its length and its SHA-256, and what
-- became of its lines. It moves in the transaction that stores the records.
create table records.import (
  id bigint generated always as identity,
  key text collate "C",
  topic text not null,
  format text not null,
  bytes bigint not null default 0,
  digest bytea not null,
  line bigint not null default 0,
  stored bigint not null default 0,
  unchanged bigint not null default 0,
  refused bigint not null default 0,
  waiting bigint not null default 0,
  finished boolean not null default false,
  stored_at timestamptz not null default now(),
  constraint import_pk primary key (id),
  constraint import_key unique (key)
);
create index import_stored_at on records.import (stored_at);

-- Why a line was refused; a line may break several rules.
create table records.refusal (
  import bigint not null,
  line bigint not null,
  number integer not null,
  field text not null,
  code text not null,
  reason text not null,
  constraint refusal_pk primary key (import, line, number),
  constraint refusal_import foreign key (import) references records.import on delete cascade
);

grant select, insert, update, delete on records.import, records.refusal to syncline_service;
