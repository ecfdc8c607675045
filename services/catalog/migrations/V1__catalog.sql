-- Products, categories, and the answers to writes that may be repeated.

-- A row is the owner's record and the lock under which a write decides; revision 1 is a creation.
create table catalog.product (
  sku text collate "C" not null,
  name text not null,
  categories text[] not null,
  attributes jsonb not null,
  revision bigint not null default 1,
  constraint product_pk primary key (sku)
);

create table catalog.category (
  id text collate "C" not null,
  name text not null,
  parent text,
  revision bigint not null default 1,
  constraint category_pk primary key (id),
  constraint category_is_not_its_parent check (parent <> id)
);

-- One row per Idempotency-Key: what was asked, as a digest, and what was answered.
create table catalog.idempotency (
  key text collate "C" not null,
  request bytea not null,
  status smallint not null,
  etag text,
  body bytea,
  stored_at timestamptz not null default now(),
  constraint idempotency_pk primary key (key)
);
create index idempotency_stored_at on catalog.idempotency (stored_at);

grant usage on schema catalog to syncline_service;
grant select, insert, update, delete on catalog.product, catalog.category, catalog.idempotency
  to syncline_service;
