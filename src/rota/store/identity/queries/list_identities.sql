SELECT issuer, subject, user_id, origin, created_at
FROM rota.identities
WHERE user_id = %(user_id)s
ORDER BY issuer, subject
