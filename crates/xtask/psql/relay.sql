-- The relay enters a database that has an outbox.
grant connect on database :"database" to :"role";
grant syncline_relay to :"role";
