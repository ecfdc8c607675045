-- Takes the locks of this stock where nobody else has them: what can wait waits for no one.
select stock.sku, stock.location, stock.on_hand, stock.reserved,
       exists (select from warehouse.product where product.sku = stock.sku) as known
  from unnest($1::text[], $2::text[]) as given (sku, location)
  join warehouse.stock using (sku, location)
 order by stock.sku, stock.location
   for update of stock skip locked
