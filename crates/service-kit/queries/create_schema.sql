-- A schema must be there before its table of applied migrations.
do $$
begin
    execute format('create schema if not exists %I', current_setting('syncline.schema'));
end
$$
