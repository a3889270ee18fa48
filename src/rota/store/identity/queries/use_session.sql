-- The session of a cookie. That it was seen is written once a minute at most.
WITH found AS (
    SELECT s.* FROM rota.sessions AS s
    WHERE s.hash = %(hash)s AND s.idle_ends_at > %(now)s AND s.ends_at > %(now)s
), seen AS (
    UPDATE rota.sessions AS s
    SET last_seen_at = %(now)s, idle_ends_at = least(%(idle_ends_at)s, s.ends_at)
    FROM found AS f
    WHERE s.id = f.id AND f.last_seen_at <= %(a_minute_ago)s
)
SELECT f.id, f.user_id, f.signed_in_by, f.user_agent, f.created_at, f.last_seen_at, f.idle_ends_at,
       f.ends_at
FROM found AS f
