SELECT id FROM auth.users WHERE email = %(email)s OR id = %(user_id)s
