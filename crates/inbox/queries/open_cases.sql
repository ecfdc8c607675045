-- Sets records aside whole, in the transaction that goes on without them.
insert into inbox.cases (topic, key, history, version, stream, pn, rebuild, kind, operation, payload,
    rule, rule_version, reason, attempts)
select $1, key, $2, version, $3, pn, $4, kind, operation, payload, rule, rule_version, reason, attempts
from unnest($5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bytea[],
    $11::text[], $12::text[], $13::bytea[], $14::int[])
    as refused (key, version, pn, kind, operation, payload, rule, rule_version, reason, attempts)
