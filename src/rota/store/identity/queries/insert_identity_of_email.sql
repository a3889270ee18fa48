-- Links a subject to a person who has no identity at this issuer yet: an address counts once.
INSERT INTO rota.identities (issuer, subject, user_id, origin, created_at)
SELECT %(issuer)s, %(subject)s, %(user_id)s, 'email', %(now)s
WHERE NOT EXISTS (
    SELECT FROM rota.identities AS i
    WHERE i.issuer = %(issuer)s AND i.user_id = %(user_id)s)
ON CONFLICT (issuer, subject) DO NOTHING
