UPDATE public.agent_runs AS r
SET cancel_requested_at = now(),
    cancel_reason = 'its person is removed',
    status = CASE WHEN r.status IN ('running', 'suspended') THEN r.status ELSE 'cancelled' END,
    finished_at = CASE WHEN r.status IN ('running', 'suspended') THEN NULL ELSE now() END
WHERE r.user_id = %(user_id)s AND r.cancel_requested_at IS NULL
  AND r.status IN ('waiting', 'queued', 'running', 'suspended')
