-- The outbox of one source: the latest state of each entity, its changes, their sealed order, and
-- the consumers that follow. Only outbox.append writes changes; only the relay numbers them.

create schema if not exists outbox;

-- What may be appended, from the contract files: lane and schema version of each topic.
create table outbox.topic (
  topic text collate "C" not null,
  lane text not null,
  schema text not null,
  constraint topic_pk primary key (topic),
  constraint topic_form check (topic ~ '^[a-z0-9-]{1,48}\.[a-z0-9-]{1,48}$'),
  constraint topic_lane check (lane in ('critical', 'normal', 'bulk'))
);

-- The compacted stream: the latest state of each entity for ever; of a deleted one key and version.
create table outbox.current (
  topic text collate "C" not null,
  key text collate "C" not null,
  version bigint not null,
  deleted boolean not null,
  payload bytea,
  constraint current_pk primary key (topic, key),
  constraint current_payload check (deleted = (payload is null))
) with (fillfactor = 70);

-- Cache 1: the second writer of a key draws its id after the first has committed, so ids keep the
-- order of each entity. A larger cache would hand out ids of another session's past.
create sequence outbox.change_id cache 1;

-- Insert only. Slots are written in turn and only ever truncated, so nothing here needs vacuum.
create table outbox.change (
  slot smallint not null,
  id bigint not null default nextval('outbox.change_id'),
  xid xid8 not null default pg_current_xact_id(),
  topic text not null,
  lane text not null,
  key text not null,
  version bigint not null,
  op text not null,
  event uuid not null,
  tenant text,
  trace text,
  schema text not null,
  occurred_at timestamptz not null default clock_timestamp(),
  payload bytea
) partition by list (slot);
create table outbox.change_0 partition of outbox.change for values in (0);
create table outbox.change_1 partition of outbox.change for values in (1);
create table outbox.change_2 partition of outbox.change for values in (2);
create index change_xid on outbox.change (xid);

-- The slot that is being written.
create table outbox.active (
  one boolean not null default true,
  slot smallint not null,
  constraint active_pk primary key (one),
  constraint active_one check (one)
);
insert into outbox.active (slot) values (0);

-- The state of ticking, and the fence: a seal advances n only under the term it was begun with.
create table outbox.tick (
  one boolean not null default true,
  n bigint not null,
  s1 pg_snapshot not null,
  term uuid not null,
  root uuid not null,
  system_identifier bigint not null,
  constraint tick_pk primary key (one),
  constraint tick_one check (one)
);
-- The first difference is taken from the beginning of time, never from now.
insert into outbox.tick (n, s1, term, root, system_identifier)
select 0, '3:3:', first.term, first.term, control.system_identifier
from gen_random_uuid() as first (term), pg_control_system() as control;

-- One topic in one lane, numbered without gaps; numbers up to the floor are no longer held.
create table outbox.stream (
  stream text collate "C" not null,
  topic text collate "C" not null,
  lane text not null,
  head bigint not null,
  term uuid not null,
  floor bigint not null default 0,
  floor_term uuid not null,
  constraint stream_pk primary key (stream),
  constraint stream_floor check (floor between 0 and head)
) with (fillfactor = 50);

-- Consecutive numbers of one stream from one tick. It names its rows for ever, because the rows
-- between two snapshots never change.
create table outbox.segment (
  stream text collate "C" not null,
  first bigint not null,
  last bigint not null,
  term uuid not null,
  previous_term uuid not null,
  n bigint not null,
  s0 pg_snapshot not null,
  s1 pg_snapshot not null,
  lowest_id bigint not null,
  highest_id bigint not null,
  lowest_xid xid8 not null,
  highest_xid xid8 not null,
  constraint segment_pk primary key (stream, first),
  constraint segment_numbers check (first between 1 and last)
);

-- Up to where the broker is known to have a stream. Saved lazily: a successor repeats what follows.
create table outbox.publish_mark (
  stream text collate "C" not null,
  pn bigint not null,
  constraint publish_mark_pk primary key (stream)
) with (fillfactor = 50);

-- Numbers that an operator declared lost because their rows are gone.
create table outbox.lost (
  stream text collate "C" not null,
  first bigint not null,
  last bigint not null,
  reason text not null,
  declared_at timestamptz not null default now(),
  constraint lost_pk primary key (stream, first)
);

-- Who follows this source. The identity lies in the consumer's database, so that two databases
-- never confirm under one name.
create table outbox.consumer (
  consumer text collate "C" not null,
  identity uuid not null,
  seen_at timestamptz not null,
  constraint consumer_pk primary key (consumer)
) with (fillfactor = 50);

-- What it follows. Before it reports a position for the first time, it holds everything that was
-- sealed after this tick.
create table outbox.consumer_topic (
  consumer text collate "C" not null,
  topic text collate "C" not null,
  hold_n bigint,
  constraint consumer_topic_pk primary key (consumer, topic),
  constraint consumer_topic_consumer foreign key (consumer)
    references outbox.consumer on delete cascade
) with (fillfactor = 50);

-- What it has confirmed, as it said it last; a stream that it did not report counts as 0.
create table outbox.consumer_position (
  consumer text collate "C" not null,
  stream text collate "C" not null,
  topic text collate "C" not null,
  pn bigint not null,
  term uuid not null,
  confirmed_at timestamptz not null,
  constraint consumer_position_pk primary key (consumer, stream),
  constraint consumer_position_consumer foreign key (consumer)
    references outbox.consumer on delete cascade
) with (fillfactor = 50);

-- Refuses what could not travel: one bad payload would spoil the envelope that it shares.
create function outbox.check_payload(p_payload bytea) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  size int := octet_length(p_payload);
begin
  if size is null or size = 0 then
    raise exception 'no payload' using errcode = 'SL422';
  elsif size > 2097152 then
    raise exception 'payload of % bytes, at most 2097152 travel', size using errcode = 'SL422';
  elsif get_byte(p_payload, 0) in (9, 10, 13, 32)
     or get_byte(p_payload, size - 1) in (9, 10, 13, 32) then
    raise exception 'payload has surrounding whitespace' using errcode = 'SL422';
  elsif p_payload = 'null'::bytea then
    raise exception 'payload is null, which no consumer can tell from none' using errcode = 'SL422';
  end if;
  perform convert_from(p_payload, 'UTF8')::json;
exception when data_exception or statement_too_complex then
  raise exception 'payload is not JSON' using errcode = 'SL422';
end $$;

-- The only way in. Locks the key, decides on the locked row, and only then draws the id: whoever
-- decides before the lock loses acknowledged writes, and whoever draws the id before the lock
-- breaks the order of the entity. Returns the version that holds afterwards; 0 if it never existed.
create function outbox.append(
  p_topic text, p_key text, p_op text, p_payload bytea, p_expected bigint default null,
  p_event uuid default null, p_trace text default null, p_tenant text default null,
  p_force boolean default false
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_lane text;
  v_schema text;
  v_version bigint;
  v_deleted boolean;
  v_equal boolean;
begin
  select lane, schema into v_lane, v_schema from outbox.topic where topic = p_topic;
  if not found then
    raise exception 'unknown topic %', coalesce(p_topic, 'null') using errcode = 'SL422';
  end if;
  if p_key is null or octet_length(p_key) not between 1 and 256
     or p_key ~ '[\x01-\x1f\x7f-\x9f]' then
    raise exception 'key is not 1 to 256 bytes without control characters' using errcode = 'SL422';
  end if;
  if octet_length(p_tenant) > 128 or p_tenant ~ '[\x01-\x1f\x7f-\x9f]' then
    raise exception 'tenant is not 0 to 128 bytes without control characters'
      using errcode = 'SL422';
  end if;
  if octet_length(p_trace) > 55 then
    -- Not a traceparent. A trace is a help; it must not hold up its change.
    p_trace := null;
  end if;
  if p_expected < 0 then
    raise exception 'expected version is below 0' using errcode = 'SL422';
  end if;

  if p_op = 'delete' then
    p_payload := null;
  elsif p_op = 'upsert' then
    perform outbox.check_payload(p_payload);
  else
    raise exception 'unknown operation %', coalesce(p_op, 'null') using errcode = 'SL422';
  end if;

  if p_op = 'delete' or p_expected > 0 then
    -- Must exist: no row may be born here.
    select version, deleted, deleted = (p_op = 'delete') and payload is not distinct from p_payload
      into v_version, v_deleted, v_equal
      from outbox.current where topic = p_topic and key = p_key for update;
    if p_expected > 0 and v_version is distinct from p_expected
       or p_expected = 0 and not v_deleted then
      raise exception 'expected version %, is %', p_expected, coalesce(v_version, 0)
        using errcode = 'SL412', detail = coalesce(v_version, 0)::text;
    end if;
    if v_version is null or v_equal and not coalesce(p_force, false) then
      return coalesce(v_version, 0);
    end if;
    v_version := v_version + 1;
    update outbox.current
       set version = v_version, deleted = (p_op = 'delete'), payload = p_payload
     where topic = p_topic and key = p_key;
  else
    -- The upsert locks the row even where its condition is false, so equality is decided on it.
    insert into outbox.current as c (topic, key, version, deleted, payload)
    values (p_topic, p_key, 1, false, p_payload)
    on conflict (topic, key) do update
       set version = c.version + 1, deleted = false, payload = excluded.payload
     where (p_expected is null or c.deleted)
       and (c.deleted or coalesce(p_force, false) or c.payload is distinct from excluded.payload)
    returning c.version into v_version;
    if not found then
      select version into v_version from outbox.current where topic = p_topic and key = p_key;
      if p_expected = 0 then
        raise exception 'expected version 0, is %', v_version
          using errcode = 'SL412', detail = v_version::text;
      end if;
      return v_version;
    end if;
  end if;

  insert into outbox.change
    (slot, topic, lane, key, version, op, event, tenant, trace, schema, payload)
  select slot, p_topic, v_lane, p_key, v_version, p_op, coalesce(p_event, gen_random_uuid()),
         p_tenant, p_trace, v_schema, p_payload
    from outbox.active;
  return v_version;
end $$;

-- Appends many entities of one topic; a null payload deletes. Takes the locks in key order, so that
-- two of these never wait for each other in a circle, and takes none for what is equal already, so
-- that a repeated import is cheap. Returns the versions in the order in which the keys were given.
create function outbox.append_many(
  p_topic text, p_keys text[], p_payloads bytea[], p_events uuid[],
  p_trace text default null, p_tenant text default null, p_force boolean default false
) returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_versions bigint[] := array_fill(0::bigint, array[coalesce(cardinality(p_keys), 0)]);
  v_version bigint;
  r record;
begin
  if cardinality(p_keys) is distinct from cardinality(p_payloads)
     or cardinality(p_keys) is distinct from cardinality(p_events) then
    raise exception 'keys, payloads and events differ in number' using errcode = 'SL422';
  end if;
  for r in
    select t.key, t.payload, t.event, t.place
      from unnest(p_keys, p_payloads, p_events) with ordinality as t (key, payload, event, place)
     order by t.key collate "C", t.place
  loop
    v_version := null;
    if not coalesce(p_force, false) then
      select version into v_version from outbox.current
       where topic = p_topic and key = r.key
         and deleted = (r.payload is null) and payload is not distinct from r.payload;
    end if;
    if v_version is null then
      v_version := outbox.append(
        p_topic, r.key, case when r.payload is null then 'delete' else 'upsert' end, r.payload,
        null, r.event, p_trace, p_tenant, p_force);
    end if;
    v_versions[r.place] := v_version;
  end loop;
  return v_versions;
end $$;

revoke all on all functions in schema outbox from public;

-- Two groups stand for all programs: the owner's service may append and look up versions, the relay
-- may read, number and remember. Which database a member may enter at all is decided by CONNECT.
grant usage on schema outbox to syncline_service, syncline_relay;
grant execute on function
  outbox.append(text, text, text, bytea, bigint, uuid, text, text, boolean),
  outbox.append_many(text, text[], bytea[], uuid[], text, text, boolean)
to syncline_service;
grant select on outbox.current to syncline_service;
grant select on all tables in schema outbox to syncline_relay;
grant update on outbox.tick to syncline_relay;
grant insert, update on outbox.stream, outbox.publish_mark to syncline_relay;
grant insert on outbox.segment to syncline_relay;
grant insert, update, delete
  on outbox.consumer, outbox.consumer_topic, outbox.consumer_position to syncline_relay;
