-- Draws another namespace for another past, unless another process did so first.
update gateway.namespace
set id = gen_random_uuid(), past = $2, past_ids = (array_prepend(id, past_ids))[1:4]
where past = $1
