SELECT EXISTS (SELECT FROM auth.users WHERE id = %(user_id)s)
