-- What the probes of the machine's limits write to: a source with its changes, and a copy.
-- The probes vacuum behind themselves: the server must not do it while others are measured.

create table limits.source (
  id integer not null,
  changed bigint not null default 0,
  name text not null default repeat('n', 200),
  constraint source_pk primary key (id)
) with (fillfactor = 70, autovacuum_enabled = false);

create table limits.change (
  seq bigint generated always as identity,
  source integer not null,
  payload text not null,
  constraint change_pk primary key (seq)
) with (autovacuum_enabled = false);

create table limits.copy (
  key text collate "C" not null,
  version bigint not null,
  name text not null,
  category text not null,
  minor bigint not null,
  currency text not null,
  stock integer not null,
  active boolean not null,
  changed_at timestamptz not null,
  constraint copy_pk primary key (key)
) with (fillfactor = 70, autovacuum_enabled = false);
