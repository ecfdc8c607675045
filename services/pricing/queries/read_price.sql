-- The price as it was published, byte for byte, and whether its product has arrived here.
select version, payload, exists (select from pricing.product where sku = $2) as is_known
  from outbox.current where topic = $1 and key = $2 and not deleted
