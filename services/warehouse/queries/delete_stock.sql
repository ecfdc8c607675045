-- Deletes the stock, under the lock that the transaction holds.
delete from warehouse.stock where sku = $1 and location = $2
