-- Proof that an action of unknown outcome took effect. Only its owner settles it.
UPDATE public.pending_actions SET result = %(result)s
WHERE id = %(action_id)s AND status = 'unknown' AND result IS DISTINCT FROM %(result)s
RETURNING id
