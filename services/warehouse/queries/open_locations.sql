-- Creates those of these locations that are unknown and holds the others, so that none is deleted
-- before its stock is stored. One that was created or deleted meanwhile is not answered: ask again.
with born as (
  insert into warehouse.location (id)
  select given from unnest($1::text[]) as given order by given collate "C"
      on conflict do nothing
  returning id
), held as materialized (
  select id from warehouse.location where id = any($1) order by id for key share
)
select id, true as created, false as published from born
union all
select id, false as created, exists (
         select from outbox.current as published
          where published.topic = $2 and published.key = held.id and not published.deleted
       ) as published
  from held
