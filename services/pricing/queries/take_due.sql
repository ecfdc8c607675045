-- Prices that have changed by themselves, the oldest first. Rows that a write holds are left to it:
-- it decides by the same time, and what it leaves due is found again.
select sku, currency, amount, offers, now() as decided_at
  from pricing.price
 where until <= now()
 order by until, sku limit $1
   for update skip locked
