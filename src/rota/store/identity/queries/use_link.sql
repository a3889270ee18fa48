UPDATE rota.sign_in_links SET used_at = %(now)s
WHERE hash = %(hash)s AND used_at IS NULL AND expires_at > %(now)s
RETURNING user_id
