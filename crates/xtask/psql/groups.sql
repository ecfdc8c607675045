-- The two groups that migrations grant to. What separates services is who may connect where.
select format('create role %I nologin', name)
from (values ('syncline_service'), ('syncline_relay')) as wanted (name)
where not exists (select from pg_roles where rolname = name)
\gexec
revoke all on database postgres, template1 from public;
