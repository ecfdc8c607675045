-- The products of the copy, with their versions.
select sku as key, version from bench.products
