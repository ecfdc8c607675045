-- Many entities are appended by a statement per step, not by several per entity.

-- The same as check_payload of each that is not null; only a bad one costs a look at each.
create function outbox.check_payloads(p_payloads bytea[]) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  v_sound boolean;
begin
  begin
    select bool_and(octet_length(payload) between 1 and 2097152
                    and get_byte(payload, 0) not in (9, 10, 13, 32)
                    and get_byte(payload, octet_length(payload) - 1) not in (9, 10, 13, 32)
                    and payload <> 'null'::bytea
                    and convert_from(payload, 'UTF8')::json is not null)
      into v_sound
      from unnest(p_payloads) as payload
     where payload is not null;
  exception when data_exception or statement_too_complex then
    v_sound := false;
  end;
  if not v_sound then
    perform outbox.check_payload(payload)
       from unnest(p_payloads) as payload
      where payload is not null;
  end if;
end $$;
revoke all on function outbox.check_payloads(bytea[]) from public;

-- Appends many entities of one topic; a null payload deletes. Takes the locks in key order, so that
-- two of these never wait for each other in a circle, and takes none for what is equal already, so
-- that a repeated import is cheap. What changes is decided on the locked rows, and ids are drawn in
-- key order after all locks. Returns the versions in the order in which the keys were given.
--
-- A plan lives as long as its connection, so one that suits a small table must not be chosen: each
-- key is looked up in the index.
create or replace function outbox.append_many(
  p_topic text, p_keys text[], p_payloads bytea[], p_events uuid[],
  p_trace text default null, p_tenant text default null, p_force boolean default false
) returns bigint[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  v_result bigint[] := array_fill(0::bigint, array[coalesce(cardinality(p_keys), 0)]);
  v_lane text;
  v_schema text;
  -- What differs from the current state, in key order.
  v_keys text[];
  v_payloads bytea[];
  v_events uuid[];
  v_places bigint[];
  -- What of it still differed under its lock, and has a new version.
  v_changed text[];
  v_versions bigint[];
  r record;
begin
  if cardinality(p_keys) is distinct from cardinality(p_payloads)
     or cardinality(p_keys) is distinct from cardinality(p_events) then
    raise exception 'keys, payloads and events differ in number' using errcode = 'SL422';
  end if;
  if (select count(distinct key collate "C") < count(*) from unnest(p_keys) as key) then
    -- One statement changes a row once, so an entity that comes twice goes the long way.
    for r in
      select t.key, t.payload, t.event, t.place
        from unnest(p_keys, p_payloads, p_events) with ordinality as t (key, payload, event, place)
       order by t.key collate "C", t.place
    loop
      v_result[r.place] := outbox.append(
        p_topic, r.key, case when r.payload is null then 'delete' else 'upsert' end, r.payload,
        null, r.event, p_trace, p_tenant, p_force);
    end loop;
    return v_result;
  end if;

  -- Without a lock. The limit keeps the planner from joining whole tables.
  with given as (
    select t.key, t.payload, t.event, t.place, coalesce(c.version, 0) as version,
           case when c.version is null then t.payload is not null
                else coalesce(p_force, false) or c.deleted <> (t.payload is null)
                     or c.payload is distinct from t.payload end as differs
      from unnest(p_keys, p_payloads, p_events) with ordinality as t (key, payload, event, place)
      left join lateral (
        select version, deleted, payload from outbox.current
         where topic = p_topic and key = t.key
         limit 1
      ) as c on true
     order by t.key collate "C"
  )
  select coalesce(array_agg(version order by place), '{}'),
         array_agg(key) filter (where differs), array_agg(payload) filter (where differs),
         array_agg(event) filter (where differs), array_agg(place) filter (where differs)
    into v_result, v_keys, v_payloads, v_events, v_places
    from given;
  if v_keys is null then
    return v_result;
  end if;

  select lane, schema into v_lane, v_schema from outbox.topic where topic = p_topic;
  if not found then
    raise exception 'unknown topic %', coalesce(p_topic, 'null') using errcode = 'SL422';
  end if;
  if array_to_string(v_keys, '') ~ '[\x01-\x1f\x7f-\x9f]'
     or (select bool_or(octet_length(key) not between 1 and 256) from unnest(v_keys) as key) then
    raise exception 'key is not 1 to 256 bytes without control characters' using errcode = 'SL422';
  end if;
  if octet_length(p_tenant) > 128 or p_tenant ~ '[\x01-\x1f\x7f-\x9f]' then
    raise exception 'tenant is not 0 to 128 bytes without control characters'
      using errcode = 'SL422';
  end if;
  if octet_length(p_trace) > 55 then
    p_trace := null;
  end if;
  perform outbox.check_payloads(v_payloads);

  -- A row that is to be deleted was seen, and rows never go, so none is born deleted. The upsert
  -- locks the row even where its condition is false, so equality is decided on it.
  with locked as (
    insert into outbox.current as c (topic, key, version, deleted, payload)
    select p_topic, d.key, 1, d.payload is null, d.payload
      from unnest(v_keys, v_payloads) as d (key, payload)
     order by d.key collate "C"
    on conflict (topic, key) do update
       set version = c.version + 1, deleted = excluded.deleted, payload = excluded.payload
     where coalesce(p_force, false) or c.deleted <> excluded.deleted
        or c.payload is distinct from excluded.payload
    returning c.key, c.version
  )
  select coalesce(array_agg(key), '{}'), coalesce(array_agg(version), '{}')
    into v_changed, v_versions
    from locked;

  if v_changed <> v_keys then
    -- Others did the same while their locks were waited for: only the rest is left.
    for r in
      select d.place, c.version
        from unnest(v_keys, v_places) as d (key, place)
        join outbox.current as c on c.topic = p_topic and c.key = d.key
       where d.key <> all (v_changed)
    loop
      v_result[r.place] := r.version;
    end loop;
    select array_agg(key), array_agg(payload), array_agg(event), array_agg(place),
           array_agg(version)
      into v_keys, v_payloads, v_events, v_places, v_versions
      from (
        select d.key, d.payload, d.event, d.place, l.version
          from unnest(v_keys, v_payloads, v_events, v_places) as d (key, payload, event, place)
          join unnest(v_changed, v_versions) as l (key, version) on l.key = d.key
         order by d.key collate "C"
      ) as rest;
  end if;

  for i in 1 .. coalesce(cardinality(v_keys), 0) loop
    v_result[v_places[i]] := v_versions[i];
  end loop;
  insert into outbox.change
    (slot, topic, lane, key, version, op, event, tenant, trace, schema, payload)
  select a.slot, p_topic, v_lane, d.key, d.version,
         case when d.payload is null then 'delete' else 'upsert' end,
         coalesce(d.event, gen_random_uuid()), p_tenant, p_trace, v_schema, d.payload
    from outbox.active as a
   cross join unnest(v_keys, v_payloads, v_events, v_versions)
     as d (key, payload, event, version)
   where a.one
   order by d.key collate "C";
  return v_result;
end $$;
