SELECT id, name, scopes, created_at, expires_at, last_used_at
FROM rota.api_tokens
WHERE user_id = %(user_id)s
ORDER BY name
