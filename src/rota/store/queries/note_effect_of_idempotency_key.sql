UPDATE rota.idempotency_keys SET has_effect = true, run_id = %(run_id)s
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s
