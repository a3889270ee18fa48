WITH chosen AS (
    SELECT id FROM public.agent_execution_results
    WHERE metadata ? 'notification_error'
    ORDER BY created_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), cleared AS (
    UPDATE public.agent_execution_results AS r
    SET metadata = r.metadata - 'notification_error'
    FROM chosen AS c
    WHERE r.id = c.id
    RETURNING r.*
)
SELECT r.id, r.user_id, r.schedule_id, r.run_id, r.agent_name, r.prompt, r.result_content, r.status,
       r.pending_actions_created, r.execution_duration_ms, r.metadata, r.created_at,
       n.session_id, n.attempt, n.trigger, n.fire_time, s.name AS schedule_name,
       coalesce(s.result_category, 'agent_result') AS result_category
FROM cleared AS r
JOIN public.agent_runs AS n ON n.id = r.run_id
LEFT JOIN public.agent_schedules AS s ON s.id = r.schedule_id
