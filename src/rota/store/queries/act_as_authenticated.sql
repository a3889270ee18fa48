SELECT set_config('role', 'authenticated', true),
       set_config('request.jwt.claims', %(claims)s, true),
       CASE WHEN %(looks_only)s THEN set_config('transaction_read_only', 'on', true) END
