-- Stores the promotion, whose lock the transaction has.
update pricing.promotion set skus = $2, percent_off = $3, periods = $4 where id = $1
