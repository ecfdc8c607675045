-- The segments that follow a position, in order; the first of them may contain it.
select first, last, term, previous_term, s0::text as s0, s1::text as s1, lowest_id, highest_id
  from outbox.segment
 where stream = $1
   and last > $2
   and first >= coalesce((select max(first) from outbox.segment
                           where stream = $1 and first <= $2::bigint + 1), 0)
 order by first
 limit $3
