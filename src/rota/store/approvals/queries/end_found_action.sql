-- An action that was begun turned out to have taken effect: its tool has looked it up.
UPDATE public.pending_actions AS a
SET status = 'succeeded', finished_at = now(), result = %(result)s, executing_token = %(token)s
WHERE a.id = %(action_id)s AND a.status = 'running' AND a.executing_token <= %(token)s
RETURNING rota.record_decision(
    a, 'approved', 'succeeded', 'rota', 'worker', 'its outcome was looked up')
