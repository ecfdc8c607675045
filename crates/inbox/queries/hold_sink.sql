-- Takes the right to clean a sink for as long as this session lives. A process that is frozen or
-- cut off does not keep it: the server ends a session that has been silent for so long.
select set_config('idle_session_timeout', '5s', false) as silence,
    pg_try_advisory_lock(hashtextextended('inbox.sink ' || $1::text, 0)) as is_held
