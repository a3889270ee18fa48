SELECT secret, key_id, expires_at, account, problem, refused_logins
FROM public.connections
WHERE user_id = %(user_id)s AND service = %(service)s AND is_active
