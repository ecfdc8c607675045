-- Ends these reservations, under the locks that the transaction holds.
update warehouse.reservation
   set state = 'expired', ended_at = clock_timestamp()
 where id = any($1) and state = 'open'
