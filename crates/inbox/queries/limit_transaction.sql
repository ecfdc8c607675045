-- A frozen process must not hold the position, and nobody may queue for it without end.
select set_config('idle_in_transaction_session_timeout', '2s', true),
    set_config('lock_timeout', '2s', true)
