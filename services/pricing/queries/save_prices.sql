-- Stores many prices, locking their rows in order, and says what promotions offer.
insert into pricing.price as stored (sku, currency, amount, revision)
select sku, currency, amount, 1
  from unnest($1::text[], $2::text[], $3::numeric[]) as named (sku, currency, amount)
 order by sku collate "C"
on conflict (sku) do update
   set currency = excluded.currency, amount = excluded.amount, revision = stored.revision + 1
returning sku, currency, amount, offers, clock_timestamp() as decided_at
