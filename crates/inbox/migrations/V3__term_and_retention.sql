-- What a source said last of itself, and an end for notes that nobody asks for any more.

alter table inbox.topic add column term uuid;
comment on column inbox.topic.term is
    'Of the relay that answered the newest call of sync. With another one the source may have '
    'another past, even where no number tells yet.';

create index cleaned_at on inbox.cleaned (at);
comment on table inbox.journal is
    'One row per batch: its numbers, those not applied by outcome, and what each step took. '
    'Written_at is its oldest change''s time at the source. Kept for the days of a setting.';

grant delete on inbox.cleaned, inbox.journal to syncline_service;
