-- Whom a valid token belongs to. That it was used is written once a minute at most.
WITH found AS (
    SELECT t.id, t.user_id, t.scopes, t.last_used_at
    FROM rota.api_tokens AS t
    WHERE t.hash = %(hash)s AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
), used AS (
    UPDATE rota.api_tokens AS t SET last_used_at = %(now)s
    FROM found AS f
    WHERE t.id = f.id AND (f.last_used_at IS NULL OR f.last_used_at <= %(a_minute_ago)s)
)
SELECT f.user_id, f.scopes FROM found AS f
