-- The stock as it was published, byte for byte, so that its tag is that of every copy.
select version, payload, exists (select from warehouse.product where sku = $3) as known
  from outbox.current where topic = $1 and key = $2 and not deleted
