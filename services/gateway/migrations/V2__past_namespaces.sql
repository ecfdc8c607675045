-- Where older copies lie: what was kept under another past may still be shown, flagged stale.
alter table gateway.namespace add column past_ids uuid[] not null default '{}';
comment on column gateway.namespace.past_ids is
    'The ids before, the newest first, and only a few: looked at for the last known copy alone.';
