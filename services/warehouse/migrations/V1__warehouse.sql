-- Locations, what is in stock at each, what of it is reserved, and the products that are known.

-- A row is the owner's record and the lock under which a write decides; revision 1 is a creation.
create table warehouse.location (
  id text collate "C" not null,
  name text,
  city text,
  region text,
  postcode text,
  revision bigint not null default 1,
  constraint location_pk primary key (id)
);

-- The lock of everything that changes this stock, its reservations included. The checks are the
-- last fence: whatever a program decided, no more is promised than there is.
create table warehouse.stock (
  sku text collate "C" not null,
  location text collate "C" not null,
  on_hand bigint not null default 0,
  reserved bigint not null default 0,
  constraint stock_pk primary key (sku, location),
  constraint stock_location foreign key (location) references warehouse.location,
  constraint stock_on_hand check (on_hand between 0 and 2147483648),
  constraint stock_reserved check (reserved between 0 and on_hand)
) with (fillfactor = 70);
-- Whether a location is empty is asked when it is deleted.
create index stock_by_location on warehouse.stock (location);

-- Changed only by who holds the lock of its stock. One that has ended outlives its stock for a
-- day, so that a late caller is told what became of it; hence no foreign key.
create table warehouse.reservation (
  id uuid not null,
  sku text collate "C" not null,
  location text collate "C" not null,
  quantity bigint not null,
  expires_at timestamptz not null,
  state text not null default 'open',
  ended_at timestamptz,
  constraint reservation_pk primary key (id),
  constraint reservation_quantity check (quantity between 1 and 2147483648),
  constraint reservation_state check (state in ('open', 'released', 'fulfilled', 'expired')),
  constraint reservation_end check ((state = 'open') = (ended_at is null))
);
create index reservation_due on warehouse.reservation (expires_at) where state = 'open';
create index reservation_ended on warehouse.reservation (ended_at) where state <> 'open';

-- Why stock changed by a difference; kept for thirty days.
create table warehouse.adjustment (
  id bigint generated always as identity,
  sku text collate "C" not null,
  location text collate "C" not null,
  delta bigint not null,
  reason text,
  made_at timestamptz not null default clock_timestamp(),
  constraint adjustment_pk primary key (id),
  constraint adjustment_delta check (delta <> 0)
);
create index adjustment_made on warehouse.adjustment (made_at);

-- The products that the catalog knows; stock of any other waits for its product.
create table warehouse.product (
  sku text collate "C" not null,
  constraint product_pk primary key (sku)
);

grant usage on schema warehouse to syncline_service;
grant select, insert, update, delete
  on warehouse.location, warehouse.stock, warehouse.reservation, warehouse.product
  to syncline_service;
grant select, insert, delete on warehouse.adjustment to syncline_service;
