-- How many products the promotion names so far: their prices change with it.
select cardinality(skus)::bigint as named from pricing.promotion where id = $1
