-- Deletes the location and says what was published of it; one row even where there was none. Where
-- it still has stock, the foreign key refuses.
with gone as (
  delete from warehouse.location where id = $1 returning id
)
select exists (select from gone) as existed, published.version,
       left(encode(sha256(published.payload), 'hex'), 8) as digest
  from (values (true)) as one
  left join outbox.current as published
    on published.topic = $2 and published.key = $1 and not published.deleted
