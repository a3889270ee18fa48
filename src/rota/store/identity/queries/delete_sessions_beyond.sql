-- Sessions of a person beyond the latest.
DELETE FROM rota.sessions AS s
WHERE s.user_id = %(user_id)s AND s.id NOT IN (
    SELECT l.id FROM rota.sessions AS l
    WHERE l.user_id = %(user_id)s
    ORDER BY l.last_seen_at DESC, l.created_at DESC
    LIMIT %(most)s)
