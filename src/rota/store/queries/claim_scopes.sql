SELECT set_config('request.jwt.claims', %(claims)s, true)
