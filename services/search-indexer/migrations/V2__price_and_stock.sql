-- Two more parts of a search document, and what the worker has noted about parts that wait.
create table search.price (
    product text collate "C" primary key,
    version bigint not null,
    currency text not null,
    amount numeric not null,
    effective numeric not null,
    promotion text,
    until timestamptz
);

-- Changes most of all: the room left in each page spares the index.
create table search.stock (
    product text collate "C",
    location text collate "C",
    version bigint not null,
    available bigint not null check (available >= 0),
    primary key (product, location)
) with (fillfactor = 80);

-- Products that have not arrived, or are gone, while a price or stock of theirs is here. Kept by
-- the worker, which alone sees all parts of a product at one moment: two projections that looked
-- for each other's rows before either commits would both find nothing.
create table search.waiting (
    product text collate "C" primary key
);

grant select, insert, update, delete on search.price, search.stock to syncline_service;
grant select, insert, delete on search.waiting to syncline_service;
