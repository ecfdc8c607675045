-- Keeps what promotions offer, and until when the price holds, of rows that this transaction holds.
update pricing.price as stored
   set offers = changed.offers, until = changed.until
  from unnest($1::text[], $2::jsonb[], $3::timestamptz[]) as changed (sku, offers, until)
 where stored.sku = changed.sku
