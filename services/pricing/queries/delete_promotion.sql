-- Deletes the promotion; says which products it named, and what was published of it.
with gone as (
  delete from pricing.promotion where id = $1 returning skus
)
select coalesce((select skus from gone), '{}') as named_before,
       exists (select from gone) as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from (values (true)) as one
  left join outbox.current as published
    on published.topic = $2 and published.key = $1 and not published.deleted
