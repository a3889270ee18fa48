-- As the owner: rota's own role may not.
UPDATE public.audit_checkpoints
SET key_id = %(key_id)s, signature = %(signature)s
WHERE chain_id = %(chain_id)s AND signature = %(earlier)s
