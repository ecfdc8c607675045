-- Deletes a product that is there.
update plain_source.product
   set deleted = true, version = version + 1
 where sku = $1 and not deleted
returning version
