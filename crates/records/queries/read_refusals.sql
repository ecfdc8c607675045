-- A page of refusals, so that an answer with a million of them needs no memory for them.
select line, number, field, code, reason
  from records.refusal
 where import = $1 and (line, number) > ($2, $3)
 order by line, number limit 500
