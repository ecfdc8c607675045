-- The plain app's source: products as catalog keeps them.

-- A deleted product stays, so that its version goes on rising when it comes back.
create table plain_source.product (
  sku text collate "C" not null,
  name text not null,
  categories text[] not null,
  attributes jsonb not null,
  version bigint not null default 1,
  deleted boolean not null default false,
  constraint product_pk primary key (sku)
);
