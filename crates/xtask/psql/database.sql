-- One database that only its own roles may enter.
select format('create database %I owner %I', :'database', :'owner')
where not exists (select from pg_database where datname = :'database')
\gexec
revoke all on database :"database" from public;
grant connect on database :"database" to :"role";
grant syncline_service to :"role";
