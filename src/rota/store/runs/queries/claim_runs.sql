-- New attempts: from any state that is not over, with greater fencing tokens than any before. Those
-- that somebody else has locked are left alone (list_runs_to_claim).
WITH wanted AS (
    SELECT id FROM public.agent_runs
    WHERE id = ANY (%(run_ids)s) AND status IN ('waiting', 'queued', 'running')
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
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
       c.is_serial, c.options, c.retry_of, c.snapshot, c.hand_overs, c.action_id,
       c.id AS run_id, c.fencing_token AS token,
       CASE WHEN c.cancel_requested_at IS NOT NULL
            THEN coalesce(c.cancel_reason, 'it was cancelled') END AS cancel_reason,
       coalesce(u.time_zone, 'UTC') AS owner_zone, l.day_tokens AS tokens, l.day_cost_usd AS cost_usd,
       rota.may_run_agents(c.user_id) AS may_run,
       asked.trigger <> 'manual' AS unattended, asked.schedule_id AS policy_schedule_id,
       (SELECT array_agg(p.id ORDER BY p.user_id NULLS FIRST, p.created_at, p.id)
        FROM public.approval_rules AS p
        WHERE (p.user_id = c.user_id
               OR (p.user_id IS NULL AND (p.for_user IS NULL OR p.for_user = c.user_id)))
          AND (p.agent_name IS NULL OR p.agent_name = c.agent_name)
          AND (p.schedule_id IS NULL OR p.schedule_id = asked.schedule_id)
          AND (p.expires_at IS NULL OR p.expires_at > now())) AS rule_ids
FROM claimed AS c
LEFT JOIN public.user_settings AS u ON u.user_id = c.user_id
CROSS JOIN LATERAL rota.limits_of(c.user_id) AS l
-- An approved action is judged as the run was that asked for it.
LEFT JOIN LATERAL (
    SELECT o.trigger, o.schedule_id
    FROM public.pending_actions AS a
    JOIN public.agent_runs AS o ON o.id = a.run_id
    WHERE a.id = c.action_id
) AS origin ON c.action_id IS NOT NULL
CROSS JOIN LATERAL (
    SELECT coalesce(origin.trigger, c.trigger) AS trigger,
           coalesce(origin.schedule_id, c.schedule_id) AS schedule_id
) AS asked
