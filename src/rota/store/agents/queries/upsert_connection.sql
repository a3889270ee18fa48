INSERT INTO public.connections
    (user_id, name, service, account, scopes, secret, key_id, expires_at, refresh_at,
     last_checked_at, check_at)
VALUES
    (%(user_id)s, %(name)s, %(kind)s, %(account)s, %(scopes)s, %(secret)s, %(key_id)s,
     %(expires_at)s, %(refresh_at)s, %(checked_at)s, %(check_at)s)
ON CONFLICT (user_id, name) DO UPDATE
SET account = excluded.account, scopes = excluded.scopes, secret = excluded.secret,
    key_id = excluded.key_id, expires_at = excluded.expires_at, refresh_at = excluded.refresh_at,
    is_active = true, state = 'ok', problem = '', refused_logins = 0, last_used_at = NULL,
    last_checked_at = excluded.last_checked_at, check_at = excluded.check_at,
    lease_holder = NULL, lease_until = NULL, troubled_since = NULL, told = ''
WHERE connections.service = excluded.service
RETURNING id
