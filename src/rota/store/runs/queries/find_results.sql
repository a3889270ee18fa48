SELECT r.id, r.user_id, r.schedule_id, r.run_id, r.agent_name, r.prompt, r.result_content, r.status,
       r.pending_actions_created, r.execution_duration_ms, r.metadata, r.created_at,
       n.session_id, n.attempt, n.trigger, n.fire_time, s.name AS schedule_name,
       coalesce(s.result_category, 'agent_result') AS result_category
FROM public.agent_execution_results AS r
JOIN public.agent_runs AS n ON n.id = r.run_id
LEFT JOIN public.agent_schedules AS s ON s.id = r.schedule_id
WHERE r.id BETWEEN %(first)s AND %(last)s OR r.run_id BETWEEN %(first)s AND %(last)s
ORDER BY r.created_at DESC, r.id
LIMIT %(limit)s
