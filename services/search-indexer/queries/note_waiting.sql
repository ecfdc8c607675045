-- Of the products $1, those of $2 are waited for by other parts, and the rest no longer.
with settled as (
    delete from search.waiting where product = any($1) and product <> all($2::text[])
)
insert into search.waiting (product)
select product
  from unnest($2::text[]) as product
    on conflict (product) do nothing;
