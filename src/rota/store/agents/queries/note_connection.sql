UPDATE public.connections
SET state = %(state)s, problem = %(problem)s,
    refused_logins = CASE
        WHEN %(is_refusal)s THEN refused_logins + 1
        WHEN %(state)s = 'ok' THEN 0
        ELSE refused_logins
    END,
    last_used_at = coalesce(%(used_at)s, last_used_at),
    last_checked_at = coalesce(%(checked_at)s, last_checked_at)
-- The secret too: what an old password came to says nothing of the one that took its place.
WHERE user_id = %(user_id)s AND service = %(service)s AND secret = %(secret)s
  AND (%(is_refusal)s OR %(checked_at)s::timestamptz IS NOT NULL OR state <> %(state)s
       OR problem <> %(problem)s OR refused_logins > 0 OR last_used_at IS NULL
       OR last_used_at < %(used_at)s::timestamptz - interval '1 minute')
