SELECT service AS kind, secret, key_id, expires_at, account, scopes, problem, refused_logins,
       refresh_at
FROM public.connections
WHERE user_id = %(user_id)s AND name = %(name)s AND is_active
