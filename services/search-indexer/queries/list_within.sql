-- The next page of the products that name this category.
select product
  from search.product_category
 where category = $1 and product > $2
 order by product
 limit $3;
