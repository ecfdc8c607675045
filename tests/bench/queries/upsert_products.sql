-- The newest state of many products, in one statement.
insert into bench.products as p
  (sku, name, categories, first_category, seq, text, characters, version, changed_at)
select sku, name, string_to_array(categories, '|'), split_part(categories, '|', 1), seq, text,
       length(text), version, now()
  from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
    as new (sku, name, categories, seq, text, version)
on conflict (sku) do update
set name = excluded.name, categories = excluded.categories,
    first_category = excluded.first_category, seq = excluded.seq, text = excluded.text,
    characters = excluded.characters, version = excluded.version,
    changed_at = excluded.changed_at,
    regressed = p.regressed + (excluded.version <= p.version)::int
