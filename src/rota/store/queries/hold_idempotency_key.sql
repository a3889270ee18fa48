UPDATE rota.idempotency_keys SET held_until = now() + make_interval(secs => %(seconds)s)
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s
