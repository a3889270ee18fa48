UPDATE public.pending_actions
SET status = %(status)s, finished_at = now(), result = %(result)s
WHERE id = %(action_id)s AND status = 'running' AND executing_token = %(token)s
RETURNING id
