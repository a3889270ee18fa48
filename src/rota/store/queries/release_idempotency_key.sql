-- A key whose request had no effect is free again; else it stays, without an answer.
WITH gone AS (
    DELETE FROM rota.idempotency_keys
    WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s AND NOT has_effect
)
UPDATE rota.idempotency_keys SET held_until = '-infinity'
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s AND has_effect
