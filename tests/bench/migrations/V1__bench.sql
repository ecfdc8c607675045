-- The copy that the benchmark's consumer keeps: what a service would want of a product.
create schema if not exists bench;
create table bench.products (
  sku text collate "C" not null,
  name text not null,
  categories text[] not null,
  first_category text,
  seq bigint not null,
  text text not null,
  characters integer not null,
  version bigint not null,
  changed_at timestamptz not null,
  -- How often a version came that was not newer: never, or a promise is broken.
  regressed bigint not null default 0,
  constraint products_pk primary key (sku)
) with (fillfactor = 70);
create table bench.categories (
  id text collate "C" not null,
  name text not null,
  version bigint not null,
  constraint categories_pk primary key (id)
);
