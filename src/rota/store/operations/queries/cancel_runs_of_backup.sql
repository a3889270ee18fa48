-- Unfinished runs, except runs that wait for a person, who is asked again.
UPDATE public.agent_runs AS r
SET cancel_requested_at = now(),
    cancel_reason = %(why)s,
    status = CASE WHEN r.status = 'running' THEN r.status ELSE 'cancelled' END,
    finished_at = CASE WHEN r.status = 'running' THEN NULL ELSE now() END
WHERE r.status IN ('waiting', 'queued', 'running') AND r.cancel_requested_at IS NULL
RETURNING r.user_id
