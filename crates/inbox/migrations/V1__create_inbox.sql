-- What a consumer keeps: where it stands, what it holds, what it set aside, what is yet unnoticed.

create table inbox.identity (
    one bool primary key default true check (one),
    identity uuid not null default gen_random_uuid()
);
comment on table inbox.identity is
    'Drawn once: two databases that claim the same consumer name are told apart by it.';
insert into inbox.identity default values;

create table inbox.topic (
    topic text collate "C" primary key,
    phase text not null default 'new'
        check (phase in ('new', 'loading', 'sweeping', 'serving', 'diverged')),
    history bigint not null default 1,
    rebuild bigint not null default 0,
    root uuid,
    cursor text collate "C",
    asked text check (asked in ('asked', 'damaged')),
    complaint text,
    running uuid
) with (fillfactor = 50);
comment on table inbox.topic is
    'One copy. Phase, history, rebuild, root and cursor change only under the locks of all '
    'its positions.';
comment on column inbox.topic.root is
    'Term of the creation of the source that this copy was built from.';
comment on column inbox.topic.cursor is
    'Last key of the last page of the rebuild that is under way.';
comment on column inbox.topic.asked is 'A rebuild that somebody asked for and that has not begun.';
comment on column inbox.topic.running is
    'The process that follows the topic; left over only by one that did not stop cleanly.';

create table inbox.position (
    stream text collate "C" primary key,
    topic text collate "C" not null references inbox.topic,
    pn bigint not null check (pn >= 0),
    term uuid not null,
    start bigint not null,
    applied bigint not null default 0,
    stale bigint not null default 0,
    filtered bigint not null default 0,
    superseded bigint not null default 0,
    discarded bigint not null default 0,
    lost bigint not null default 0,
    open_cases bigint not null default 0 check (open_cases >= 0),
    contradictions bigint not null default 0,
    duplicates bigint not null default 0,
    left_to_reader bigint not null default 0,
    unreadable bigint not null default 0,
    constraint position_balance check (
        pn - start = applied + stale + filtered + superseded + discarded + lost + open_cases
    )
) with (fillfactor = 50);
comment on table inbox.position is
    'One row per stream: the last number that has its outcome, and the books, which the check '
    'keeps balanced.';
comment on column inbox.position.contradictions is
    'Changes of a stored version with another digest; each is an open case as well.';
comment on column inbox.position.duplicates is
    'This and the two after it count deliveries, not changes; they are flushed now and then.';

create table inbox.position_archive (
    like inbox.position,
    rebuild bigint not null,
    archived_at timestamptz not null default clock_timestamp()
);
comment on table inbox.position_archive is 'The books as they stood when a rebuild began new ones.';

create table inbox.versions (
    topic text collate "C",
    key text collate "C",
    history bigint not null,
    version bigint not null,
    deleted bool not null,
    digest bytea,
    seen bigint not null,
    primary key (topic, key)
) with (fillfactor = 80);
comment on table inbox.versions is
    'The gate: the newest state of every entity, of deleted ones for ever. Seen is the last '
    'rebuild that met the key.';

create table inbox.cases (
    id bigint generated always as identity primary key,
    topic text collate "C" not null,
    key text collate "C",
    history bigint not null,
    version bigint,
    stream text collate "C",
    pn bigint,
    rebuild bigint not null,
    kind text not null check (kind in ('unreadable', 'invalid', 'failing')),
    operation text,
    payload bytea,
    rule text not null,
    rule_version text not null,
    reason bytea not null,
    attempts int not null default 1,
    state text not null default 'open'
        check (state in ('open', 'applied', 'superseded', 'discarded')),
    opened_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz
) with (fillfactor = 90);
comment on table inbox.cases is
    'Records set aside whole. Payload and reason are bytea: a NUL in text would abort the '
    'batch and the case, for ever.';
create index cases_open on inbox.cases (topic, key) where state = 'open';

create table inbox.journal (
    id bigint generated always as identity primary key,
    stream text collate "C" not null,
    rebuild bigint not null,
    first bigint not null,
    last bigint not null,
    term uuid not null,
    via text not null check (via in ('push', 'feed')),
    applied bigint not null,
    stale bigint[] not null,
    cases bigint[] not null,
    written_at timestamptz,
    received_at timestamptz not null,
    lock_us bigint not null,
    gate_us bigint not null,
    apply_us bigint not null,
    at timestamptz not null default clock_timestamp()
);
comment on table inbox.journal is
    'One row per batch: its numbers, those not applied by outcome, and what each step took. '
    'Written_at is its oldest change''s time at the source.';
create index journal_range on inbox.journal (stream, last);

create sequence inbox.gen;
create table inbox.dirty (
    sink text collate "C",
    key text collate "C",
    stream text collate "C",
    gen bigint not null default nextval('inbox.gen'),
    low bigint not null,
    high bigint not null,
    since timestamptz not null default clock_timestamp(),
    primary key (sink, key, stream)
) with (fillfactor = 70);
comment on table inbox.dirty is
    'Keys that an index or a cache has yet to notice. Gen comes from a sequence, so that no '
    'value returns. Pages have no number: stream is empty, low and high are 0.';
comment on column inbox.dirty.since is
    'Since when the worker has not got round to it; a mark on top of another does not change it.';
create index dirty_waiting on inbox.dirty (sink, since);

create table inbox.unreadable (
    id bigint generated always as identity primary key,
    stream text collate "C" not null,
    via text not null check (via in ('push', 'feed')),
    digest bytea not null,
    body bytea not null,
    body_bytes bigint not null,
    reason bytea not null,
    times bigint not null default 1,
    first_at timestamptz not null default clock_timestamp(),
    last_at timestamptz not null default clock_timestamp(),
    unique (stream, digest)
);
comment on table inbox.unreadable is
    'Deliveries that are no envelope, outside the books: the reader fetches what they should '
    'have been. The newest are kept.';

create table inbox.attempt (
    stream text collate "C" primary key,
    topic text collate "C" not null references inbox.topic,
    first bigint not null,
    last bigint not null,
    suspect bigint not null,
    times int not null,
    survived bool not null,
    failed bool not null,
    process uuid not null
);
comment on table inbox.attempt is
    'After an unclean stop: the batch that is being tried, recorded before the try. One that '
    'was neither survived nor failed killed its process, and names the record at fault by halves.';

grant usage on schema inbox to syncline_service;
grant select on inbox.identity to syncline_service;
grant select, insert, update on inbox.topic, inbox.versions, inbox.cases to syncline_service;
grant select, insert on inbox.position_archive, inbox.journal to syncline_service;
grant select, insert, update, delete
    on inbox.position, inbox.dirty, inbox.unreadable, inbox.attempt to syncline_service;
grant usage on sequence inbox.gen to syncline_service;
