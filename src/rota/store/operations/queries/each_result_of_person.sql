SELECT r.id, r.created_at, r.agent_name, s.name AS schedule_name, r.status,
       coalesce(x.content, r.result_content) AS content
FROM public.agent_execution_results AS r
LEFT JOIN public.agent_schedules AS s ON s.id = r.schedule_id
LEFT JOIN public.result_texts AS x ON x.result_id = r.id
WHERE r.user_id = %(user_id)s
ORDER BY r.created_at, r.id
