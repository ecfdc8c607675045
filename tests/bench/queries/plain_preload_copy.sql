-- The same products as the source has, already taken over.
insert into plain_copy.product
  (sku, name, categories, first_category, seq, text, characters, version, deleted, changed_at)
select 'BENCH-' || lpad(number::text, 7, '0'), 'Product ' || number,
       array['bench', 'c' || number % 100], 'bench', 0, filler, length(filler), 1, false, now()
  from generate_series(0, $1::bigint - 1) as number,
       left(repeat(md5(number::text), 13), 390) as filler
