-- The stock of a product at all its locations, of one moment: rows and versions change together.
select stock.location, stock.on_hand, stock.reserved, published.version,
       exists (select from warehouse.product where product.sku = stock.sku) as known
  from warehouse.stock
  join outbox.current as published
    on published.topic = $2 and published.key = stock.sku || '/' || stock.location
   and not published.deleted
 where stock.sku = $1
 order by stock.location
