SELECT issuer, subject, user_id, origin, created_at
FROM rota.identities
WHERE issuer = %(issuer)s AND subject = %(subject)s
