-- How long until the next price changes by itself, in microseconds of the database's clock.
select (extract(epoch from min(until) - clock_timestamp()) * 1000000)::bigint as wait_us
  from pricing.price where until is not null
