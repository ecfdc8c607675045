-- When each sink had brought everything up to a number up to date, for the trail of a change.

create table inbox.cleaned (
    sink text collate "C",
    stream text collate "C",
    rebuild bigint,
    pn bigint,
    at timestamptz not null default clock_timestamp(),
    primary key (sink, stream, rebuild, pn)
);
comment on table inbox.cleaned is
    'A row per cleaned batch and stream that moved: nothing of the stream up to this number was '
    'dirty any more. Numbers of another rebuild may be those of another past.';

grant select, insert on inbox.cleaned to syncline_service;
