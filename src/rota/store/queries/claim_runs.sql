-- New attempts: from any state that is not over, with greater fencing tokens than any before.
WITH wanted AS (
    SELECT id FROM public.agent_runs
    WHERE id = ANY (%(run_ids)s) AND status IN ('waiting', 'queued', 'running')
    ORDER BY id
    FOR NO KEY UPDATE
), claimed AS (
    UPDATE public.agent_runs AS r
    SET status = 'running',
        attempt = attempt + 1,
        fencing_token = nextval('rota.fencing_tokens'),
        started_at = coalesce(started_at, now())
    FROM wanted AS w
    WHERE r.id = w.id
    RETURNING r.*
)
SELECT c.id, c.user_id, c.schedule_id, c.fire_time, c.agent_name, c.prompt, c.trigger, c.status,
       c.session_id, c.attempt, c.fencing_token, c.created_at, c.started_at, c.finished_at,
       c.is_serial, c.options, c.retry_of, c.snapshot, c.hand_overs,
       CASE WHEN c.cancel_requested_at IS NOT NULL
            THEN coalesce(c.cancel_reason, 'it was cancelled') END AS cancel_reason,
       coalesce(u.time_zone, 'UTC') AS time_zone, l.day_tokens, l.day_cost_usd
FROM claimed AS c
LEFT JOIN public.user_settings AS u ON u.user_id = c.user_id
CROSS JOIN LATERAL rota.limits_of(c.user_id) AS l
