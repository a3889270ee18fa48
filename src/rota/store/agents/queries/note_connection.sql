UPDATE public.connections
SET state = %(state)s, problem = %(problem)s,
    refused_logins = CASE
        WHEN %(is_refusal)s THEN refused_logins + 1
        WHEN %(state)s = 'ok' THEN 0
        ELSE refused_logins
    END,
    troubled_since = CASE WHEN %(state)s <> 'ok' THEN coalesce(troubled_since, %(at)s) END,
    last_used_at = CASE WHEN %(is_use)s THEN %(at)s ELSE last_used_at END,
    last_checked_at = CASE WHEN %(is_check)s THEN %(at)s ELSE last_checked_at END,
    -- A use that goes well puts no check off: it may have asked for less.
    check_at = CASE WHEN %(is_check)s THEN %(check_at)s
                    WHEN %(state)s = 'ok' THEN check_at
                    ELSE least(check_at, %(check_at)s) END,
    refresh_at = CASE WHEN refresh_at IS NULL THEN NULL
                      ELSE coalesce(%(refresh_at)s, refresh_at) END
-- The secret too: what an old password came to says nothing of the one that took its place.
WHERE user_id = %(user_id)s AND name = %(name)s AND secret = %(secret)s
  AND (%(is_refusal)s OR %(is_check)s OR state <> %(state)s
       OR %(refresh_at)s::timestamptz IS NOT NULL
       OR problem <> %(problem)s OR refused_logins > 0 OR last_used_at IS NULL
       OR last_used_at < %(at)s::timestamptz - interval '1 minute')
