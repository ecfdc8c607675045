-- Fences every other relay: from here on only seals under this term find the row.
update outbox.tick set term = $1 returning n, s1::text as s1, root
