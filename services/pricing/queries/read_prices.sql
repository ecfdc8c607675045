-- What these products cost so far, and which of them are known here; in the order in which they are
-- given, without any lock: what is equal already need not be written.
select named.sku, price.currency, price.amount, product.sku is not null as is_known
  from unnest($1::text[]) with ordinality as named (sku, place)
  left join pricing.price on price.sku = named.sku
  left join pricing.product on product.sku = named.sku
 order by named.place
