INSERT INTO rota.sign_in_links (hash, user_id, created_at, expires_at)
VALUES (%(hash)s, %(user_id)s, %(now)s, %(expires_at)s)
