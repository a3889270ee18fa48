-- Only the attempt that changes this row executes the action, with the approved arguments.
UPDATE public.pending_actions AS a
SET status = 'running', started_at = now(), executing_token = %(token)s
WHERE a.id = %(action_id)s AND a.status = 'approved' AND a.version = %(version)s
  AND a.arguments_hash = %(arguments_hash)s
RETURNING rota.record_decision(a, 'approved', 'started', 'rota', 'worker', '')
