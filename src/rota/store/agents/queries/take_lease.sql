UPDATE public.connections AS c
SET lease_holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE c.id = (
    SELECT id FROM public.connections
    WHERE user_id = %(user_id)s AND name = %(name)s AND is_active
      AND (lease_until IS NULL OR lease_until <= clock_timestamp())
    FOR UPDATE SKIP LOCKED
)
RETURNING c.service AS kind, c.secret, c.key_id, c.expires_at, c.account, c.scopes, c.problem,
          c.refused_logins, c.refresh_at
