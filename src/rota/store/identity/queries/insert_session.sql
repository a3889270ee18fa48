INSERT INTO rota.sessions (user_id, hash, signed_in_by, user_agent, created_at, last_seen_at,
                           idle_ends_at, ends_at)
VALUES (%(user_id)s, %(hash)s, %(signed_in_by)s, %(user_agent)s, %(now)s, %(now)s,
        %(idle_ends_at)s, %(ends_at)s)
RETURNING id, user_id, signed_in_by, user_agent, created_at, last_seen_at, idle_ends_at, ends_at
