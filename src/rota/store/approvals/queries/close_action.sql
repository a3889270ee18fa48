-- An approved action that had not begun has failed. The outcome of a begun action is unknown.
UPDATE public.pending_actions AS a
SET status = CASE a.status WHEN 'approved' THEN 'failed' ELSE 'unknown' END,
    finished_at = now(), result = %(reason)s
WHERE a.id = %(action_id)s AND a.status IN ('approved', 'running')
RETURNING a.status, rota.record_decision(
    a, 'approved', CASE a.status WHEN 'failed' THEN 'not_run' ELSE 'unknown' END,
    'rota', 'worker', %(reason)s)
