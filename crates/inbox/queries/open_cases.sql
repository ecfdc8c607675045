-- Sets records aside whole, in the transaction that goes on without them.
insert into inbox.cases (topic, history, stream, rebuild, key, version, pn, kind, operation,
    payload, rule, rule_version, reason, attempts)
select $1, $2, $3, $4, key, version, pn, kind, operation, payload,
    rule, rule_version, reason, attempts
from unnest($5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bytea[],
    $11::text[], $12::text[], $13::bytea[], $14::int[])
    as refused (key, version, pn, kind, operation, payload, rule, rule_version, reason, attempts)
