-- What products cost, the promotions on them, and which products there are.

-- A row is everything that decides what a product costs: its price, where it has one, and what each
-- promotion that names it offers. So the lock of this row alone makes a decision safe: a write that
-- waited for it sees the promotions of the write that it waited for, which a join would not, since
-- its snapshot is older. Rows stay when a price is deleted, for the promotions that name them.
-- `until` is the next moment at which the price changes by itself: what is past is due, however
-- long nobody looked. Revision 0 is no price, 1 a new one.
create table pricing.price (
  sku text collate "C" not null,
  currency text,
  amount numeric,
  offers jsonb not null default '[]',
  until timestamptz,
  revision bigint not null default 0,
  constraint price_pk primary key (sku),
  constraint price_is_whole check (num_nulls(currency, amount) in (0, 2)),
  constraint price_exists check ((revision > 0) = (amount is not null)),
  constraint price_changes_only_where_it_exists check (until is null or amount is not null)
) with (fillfactor = 70);
create index price_until on pricing.price (until) where until is not null;

-- `named_before` is what it named before its last write, from which that write took it back.
create table pricing.promotion (
  id text collate "C" not null,
  skus text[] not null,
  percent_off numeric not null,
  periods jsonb not null,
  named_before text[] not null default '{}',
  revision bigint not null default 1,
  constraint promotion_pk primary key (id)
);

-- The copy of the catalog's products: which there are.
create table pricing.product (
  sku text collate "C" not null,
  version bigint not null,
  constraint product_pk primary key (sku)
);

grant usage on schema pricing to syncline_service;
grant select, insert, update, delete on pricing.price, pricing.promotion, pricing.product
  to syncline_service;
