INSERT INTO public.connections
    (user_id, service, account, secret, key_id, expires_at, last_checked_at)
VALUES
    (%(user_id)s, %(service)s, %(account)s, %(secret)s, %(key_id)s, %(expires_at)s, %(checked_at)s)
ON CONFLICT (user_id, service) DO UPDATE
SET account = excluded.account, secret = excluded.secret, key_id = excluded.key_id,
    expires_at = excluded.expires_at, is_active = true, state = 'ok', problem = '',
    refused_logins = 0, last_used_at = NULL, last_checked_at = excluded.last_checked_at
