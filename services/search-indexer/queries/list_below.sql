-- These categories and all below them. `union` also ends the walk where parents form a circle.
with recursive below as (
    select given collate "C" as key
      from unnest($1::text[]) as given
    union
    select category.key
      from below
      join search.category on category.parent = below.key
)
select key from below order by key;
