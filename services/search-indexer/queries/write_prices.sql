-- The newest price of each product of a batch; no currency means deleted. Amounts keep the decimals
-- that they come with.
with change as materialized (
    select product, version, currency, amount::numeric, effective::numeric, promotion, until
      from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::timestamptz[])
           as change (product, version, currency, amount, effective, promotion, until)
), gone as (
    delete from search.price using change
     where price.product = change.product and change.currency is null
)
insert into search.price as price
       (product, version, currency, amount, effective, promotion, until)
select product, version, currency, amount, effective, promotion, until
  from change
 where currency is not null
    on conflict (product) do update
   set version = excluded.version,
       currency = excluded.currency,
       amount = excluded.amount,
       effective = excluded.effective,
       promotion = excluded.promotion,
       until = excluded.until;
