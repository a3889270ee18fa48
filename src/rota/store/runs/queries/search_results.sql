SELECT r.id, r.user_id, r.schedule_id, r.run_id, r.agent_name, r.status,
       CASE WHEN length(r.prompt) > %(longest)s THEN left(r.prompt, %(longest)s - 1) || '…'
            ELSE r.prompt END AS prompt,
       CASE WHEN length(r.result_content) > %(longest)s
            THEN left(r.result_content, %(longest)s - 1) || '…'
            ELSE r.result_content END AS result_content,
       r.pending_actions_created, r.execution_duration_ms, r.metadata - 'dry_run' AS metadata,
       r.created_at, n.session_id, n.attempt, n.trigger, n.fire_time, s.name AS schedule_name,
       coalesce(s.result_category, 'agent_result') AS result_category
FROM public.search_results(
    %(words)s, %(agent_name)s, %(schedule_id)s::uuid, %(status)s, %(since)s::timestamptz,
    %(after_created)s::timestamptz, %(after_id)s::uuid, %(limit)s::integer) AS f (id)
JOIN public.agent_execution_results AS r ON r.id = f.id
JOIN public.agent_runs AS n ON n.id = r.run_id
LEFT JOIN public.agent_schedules AS s ON s.id = r.schedule_id
ORDER BY r.created_at DESC, r.id DESC
