DELETE FROM rota.identities
WHERE issuer = %(issuer)s AND subject = %(subject)s AND user_id = %(user_id)s
