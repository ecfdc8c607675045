-- Answers to writes that may be repeated are kept in schema records now, which all owners share in
-- form; what was kept here is given up: a key lives for a day only.
drop table catalog.idempotency;
