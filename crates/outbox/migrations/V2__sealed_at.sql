-- When a segment was sealed, so that one can see where a change spent its time. Segments of before
-- do not know it: a default that is set afterwards rewrites no row.
alter table outbox.segment add column sealed_at timestamptz;
alter table outbox.segment alter column sealed_at set default clock_timestamp();
