-- What must be true of a server before any promise is made on it; asked once, at start.
select current_setting('server_version_num')::int as server_version,
       current_setting('synchronous_commit') as synchronous_commit
