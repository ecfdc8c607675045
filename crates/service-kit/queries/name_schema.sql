-- Tells create_schema.sql which schema, since it can take no parameter.
select set_config('syncline.schema', $1, false)
