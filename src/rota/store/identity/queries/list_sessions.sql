SELECT id, user_id, signed_in_by, user_agent, created_at, last_seen_at, idle_ends_at, ends_at
FROM rota.sessions
WHERE user_id = %(user_id)s AND idle_ends_at > %(now)s AND ends_at > %(now)s
ORDER BY last_seen_at DESC, id DESC
