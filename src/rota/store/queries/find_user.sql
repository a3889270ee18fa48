SELECT id FROM auth.users WHERE email = %(email)s
