INSERT INTO rota.identities (issuer, subject, user_id, origin, created_at)
VALUES (%(issuer)s, %(subject)s, %(user_id)s, %(origin)s, %(now)s)
ON CONFLICT (issuer, subject) DO NOTHING
