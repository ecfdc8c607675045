-- Under which namespace composed views are kept in the cache, and for which past of the sources it
-- was drawn. The service runs as a member of syncline_service and owns nothing.
create table gateway.namespace (
    one boolean primary key default true check (one),
    id uuid not null default gen_random_uuid(),
    past text not null default ''
);
comment on table gateway.namespace is
    'With another past another id: nothing that was kept under the one before is found any more.';

insert into gateway.namespace default values;

grant usage on schema gateway to syncline_service;
grant select, update on gateway.namespace to syncline_service;
