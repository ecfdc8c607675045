-- Whether the database answers, for readiness.
select 1 as alive
