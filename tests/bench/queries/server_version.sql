-- The server's version, without what its packager adds.
select split_part(current_setting('server_version'), ' ', 1) as version
