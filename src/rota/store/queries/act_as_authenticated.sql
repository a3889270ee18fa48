SELECT set_config('role', 'authenticated', true),
       set_config('request.jwt.claims', %(claims)s, true)
