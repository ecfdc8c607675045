-- Locks the rows of these products, in order, and makes those that are missing: a price that is
-- written while a promotion is must meet its offer, whether or not there was a price before.
insert into pricing.price as stored (sku)
select sku from unnest($1::text[]) as named (sku) order by sku collate "C"
on conflict (sku) do update set revision = stored.revision
returning sku, currency, amount, offers, clock_timestamp() as decided_at
