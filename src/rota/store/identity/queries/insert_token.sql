-- No row where the person has as many as they may.
INSERT INTO rota.api_tokens (user_id, name, hash, scopes, created_at, expires_at)
SELECT %(user_id)s, %(name)s, %(hash)s, %(scopes)s, %(now)s, %(expires_at)s
WHERE (SELECT count(*) FROM rota.api_tokens AS t WHERE t.user_id = %(user_id)s) < %(most)s
RETURNING id, name, scopes, created_at, expires_at, last_used_at
