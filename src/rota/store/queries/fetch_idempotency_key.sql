SELECT request, held_until > now() AS is_held, status, answer
FROM rota.idempotency_keys WHERE user_id = %(user_id)s AND key = %(key)s
