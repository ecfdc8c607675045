-- One role that may log in; its password is set each time, so that the file of secrets is right.
select format('create role %I login', :'role')
where not exists (select from pg_roles where rolname = :'role')
\gexec
alter role :"role" password :'password';
