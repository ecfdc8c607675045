-- Deletes the category and appends that, if there was one: a transaction of one statement. $1 to $9
-- are what outbox.append takes, the key among them. The count comes after the delete and before the
-- append.
with gone as (
  delete from catalog.category where id = $2 returning id
)
select existed,
       case when existed then outbox.append($1, $2, $3, $4, $5, $6, $7, $8, $9) end as version
  from (select count(*) > 0 as existed from gone) as one
