-- The present namespace and the past that it was drawn for.
select id, past from gateway.namespace
