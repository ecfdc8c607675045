-- What the search documents are made of, one table per consumed topic, and which commit of the
-- index belongs to these rows. The service runs as a member of syncline_service and owns nothing.
create table search.product (
    key text collate "C" primary key,
    version bigint not null,
    name text not null,
    categories text[] collate "C" not null,
    attributes jsonb not null
);

-- Which products name a category, in order: a category that changes finds the documents that show
-- it page by page, each page at the price of a page.
create table search.product_category (
    category text collate "C",
    product text collate "C",
    primary key (category, product)
);

create table search.category (
    key text collate "C" primary key,
    version bigint not null,
    name text not null,
    parent text collate "C"
);

create index category_parent on search.category (parent);

-- One row: `current` is the commit that the index is known to hold, `pending` the one that was
-- announced before the index was asked to make it.
create table search.index_commit (
    one boolean primary key default true check (one),
    current uuid,
    pending uuid
);

insert into search.index_commit default values;

grant usage on schema search to syncline_service;
grant select, insert, update, delete on search.product, search.product_category, search.category
    to syncline_service;
grant select, update on search.index_commit to syncline_service;
