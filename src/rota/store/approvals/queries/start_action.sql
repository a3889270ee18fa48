-- Only the winner of this executes the action, and only what was approved.
UPDATE public.pending_actions
SET status = 'running', started_at = now(), executing_token = %(token)s
WHERE id = %(action_id)s AND status = 'approved' AND version = %(version)s
  AND arguments_hash = %(arguments_hash)s
RETURNING id
