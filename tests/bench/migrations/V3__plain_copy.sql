-- The plain app's copy: the columns that the benchmark's consumer keeps too.

-- A deleted product stays, without content, so that an older message does not bring it back.
create table plain_copy.product (
  sku text collate "C" not null,
  name text,
  categories text[],
  first_category text,
  seq bigint,
  text text,
  characters integer,
  version bigint not null,
  deleted boolean not null,
  changed_at timestamptz not null,
  constraint product_pk primary key (sku)
) with (fillfactor = 70);
