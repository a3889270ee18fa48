-- A new attempt: from any state that is not over, with a greater fencing token than any before.
UPDATE public.agent_runs
SET status = 'running',
    attempt = attempt + 1,
    fencing_token = nextval('rota.fencing_tokens'),
    started_at = coalesce(started_at, now())
WHERE id = %(run_id)s AND status IN ('waiting', 'queued', 'running')
RETURNING attempt, fencing_token, snapshot,
          CASE WHEN cancel_requested_at IS NOT NULL
               THEN coalesce(cancel_reason, 'it was cancelled') END
