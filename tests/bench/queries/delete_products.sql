-- Products that are no longer.
delete from bench.products where sku = any($1)
