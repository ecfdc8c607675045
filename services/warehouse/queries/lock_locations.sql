-- These locations as they are, under their locks: what is published of them next is the newest.
select id, name, city, region, postcode
  from warehouse.location where id = any($1) order by id for no key update
