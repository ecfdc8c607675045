-- The documents that show one of these categories, directly or as an ancestor, with the category
-- that makes them. `union` also ends the walk where parents form a circle.
with recursive below as (
    select root, root collate "C" as key
      from unnest($1::text[]) as given (root)
    union
    select below.root, category.key
      from below
      join search.category on category.parent = below.key
)
select distinct below.root, product.key
  from below
  join search.product on product.categories @> array[below.key];
