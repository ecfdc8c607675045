-- The batches that brought these numbers, and what each step of them took.
select first, last, lock_us, gate_us, apply_us,
       (extract(epoch from received_at) * 1000000)::bigint as received_us,
       (extract(epoch from at) * 1000000)::bigint as at_us
  from inbox.journal
 where stream = $1 and last >= $2 and first <= $3
 order by first
