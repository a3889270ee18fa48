SELECT r.id, r.user_id, r.schedule_id, r.run_id, r.agent_name, r.status,
       CASE WHEN length(r.prompt) > %(longest)s THEN left(r.prompt, %(longest)s - 1) || '…'
            ELSE r.prompt END AS prompt,
       CASE WHEN length(r.result_content) > %(longest)s
            THEN left(r.result_content, %(longest)s - 1) || '…'
            ELSE r.result_content END AS result_content,
       r.pending_actions_created, r.execution_duration_ms,
       CASE WHEN %(longest)s < 50000 THEN r.metadata - 'dry_run' ELSE r.metadata END AS metadata,
       r.created_at, n.session_id, n.attempt, n.trigger, n.fire_time, s.name AS schedule_name,
       coalesce(s.result_category, 'agent_result') AS result_category
FROM public.agent_execution_results AS r
JOIN public.agent_runs AS n ON n.id = r.run_id
LEFT JOIN public.agent_schedules AS s ON s.id = r.schedule_id
WHERE (r.created_at, r.id) < (%(after_created)s::timestamptz, %(after_id)s::uuid)
  AND (%(agent_name)s::text IS NULL OR r.agent_name = %(agent_name)s)
  AND (%(schedule_id)s::uuid IS NULL OR r.schedule_id = %(schedule_id)s)
  AND (%(status)s::text IS NULL OR r.status = %(status)s)
  AND (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s)
ORDER BY r.created_at DESC, r.id DESC
LIMIT %(limit)s
