UPDATE public.connections
SET secret = %(secret)s, key_id = %(key_id)s, scopes = %(scopes)s, expires_at = %(expires_at)s,
    refresh_at = %(refresh_at)s, refused_logins = 0,
    -- A new access token is no proof that the API takes it: a check is.
    check_at = CASE WHEN state = 'ok' THEN check_at ELSE least(check_at, %(at)s) END
WHERE user_id = %(user_id)s AND name = %(name)s AND secret = %(was)s
