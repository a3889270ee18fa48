-- An action whose tool may be called twice, begun by an attempt that is over.
UPDATE public.pending_actions SET executing_token = %(token)s
WHERE id = %(action_id)s AND status = 'running' AND executing_token < %(token)s
RETURNING id
