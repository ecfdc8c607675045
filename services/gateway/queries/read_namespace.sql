-- The present namespace, the past that it was drawn for, and the namespaces before, newest first.
select id, past, past_ids from gateway.namespace
