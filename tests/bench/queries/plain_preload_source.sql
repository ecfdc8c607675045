-- Products to write among, of the size that the workload writes.
insert into plain_source.product (sku, name, categories, attributes)
select 'BENCH-' || lpad(number::text, 7, '0'), 'Product ' || number,
       array['bench', 'c' || number % 100],
       jsonb_build_object('seq', 0, 'text', left(repeat(md5(number::text), 13), 390))
  from generate_series(0, $1::bigint - 1) as number
