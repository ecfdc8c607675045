-- Why lines of the upload were refused, in the order of their lines.
insert into records.refusal (import, line, number, field, code, reason)
select $1, given.line, given.number, given.field, given.code, given.reason
  from unnest($2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[])
    as given (line, number, field, code, reason)
