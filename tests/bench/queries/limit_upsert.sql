-- The least that a copy must write for a batch: one statement that never replaces newer by older.
insert into limits.copy as copy (
  key, version, name, category, minor, currency, stock, active, changed_at
)
select key, version, name, category, minor, currency, stock, active, changed_at
  from unnest(
         $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::integer[],
         $8::boolean[], $9::timestamptz[]
       ) as change (key, version, name, category, minor, currency, stock, active, changed_at)
    on conflict (key) do update
   set version = excluded.version, name = excluded.name, category = excluded.category,
       minor = excluded.minor, currency = excluded.currency, stock = excluded.stock,
       active = excluded.active, changed_at = excluded.changed_at
 where copy.version < excluded.version
