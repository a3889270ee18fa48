SELECT current_setting('transaction_read_only')::boolean AS is_read_only,
       pg_is_in_recovery() AS is_standby,
       clock_timestamp() AS clock
