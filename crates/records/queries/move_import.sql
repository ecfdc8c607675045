-- What is done of the upload now, in the transaction that did it.
update records.import
   set bytes = $2, digest = $3, line = $4, stored = $5, unchanged = $6, refused = $7,
       waiting = $8, finished = $9, stored_at = now()
 where id = $1
