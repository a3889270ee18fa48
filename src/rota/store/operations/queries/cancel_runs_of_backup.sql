-- Unfinished runs, except runs that wait for a person, who is asked again. One that was under way is
-- still to be ended, with a result.
UPDATE public.agent_runs AS r
SET cancel_requested_at = coalesce(r.cancel_requested_at, now()),
    cancel_reason = coalesce(r.cancel_reason, %(why)s),
    status = CASE WHEN r.status = 'running' THEN r.status ELSE 'cancelled' END,
    finished_at = CASE WHEN r.status = 'running' THEN NULL ELSE now() END
WHERE r.status IN ('waiting', 'queued', 'running')
RETURNING r.id, r.user_id, r.action_id, r.status
