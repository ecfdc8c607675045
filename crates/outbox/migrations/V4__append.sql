-- The same append, whose sound payload is looked at in place: the call of check_payload took a
-- fifth of the time of all of it. Only an unsound one is handed to it, which says what is wrong.

-- The only way in. Locks the key, decides on the locked row, and only then draws the id: whoever
-- decides before the lock loses acknowledged writes, and whoever draws the id before the lock
-- breaks the order of the entity. Returns the version that holds afterwards; 0 if it never existed.
create or replace function outbox.append(
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
  v_json json;
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
    if p_payload is null or p_payload = 'null'::bytea
       or octet_length(p_payload) not between 1 and 2097152
       or get_byte(p_payload, 0) in (9, 10, 13, 32)
       or get_byte(p_payload, octet_length(p_payload) - 1) in (9, 10, 13, 32) then
      perform outbox.check_payload(p_payload);
    end if;
    begin
      -- Assigned and never read: an expression costs a fraction of a query.
      v_json := convert_from(p_payload, 'UTF8')::json;
    exception when data_exception or statement_too_complex then
      perform outbox.check_payload(p_payload);
    end;
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
