-- A run that cannot be begun, or not be ended as it should, is held for its end alone: from any state
-- that is not over; where it was taken, only from whoever took it.
UPDATE public.agent_runs
SET status = 'running', fencing_token = nextval('rota.fencing_tokens'),
    started_at = coalesce(started_at, now())
WHERE id = %(run_id)s AND status IN ('waiting', 'queued', 'running')
  AND (%(token)s::bigint IS NULL OR fencing_token = %(token)s)
RETURNING id AS run_id, user_id, agent_name, session_id, attempt, fencing_token AS token
