SELECT r.run_id, s.name AS schedule, r.agent_name AS agent, r.created_at AS ended_at,
       CASE WHEN length(r.result_content) > 1000 THEN left(r.result_content, 999) || '…'
            ELSE r.result_content END AS message
FROM public.agent_execution_results AS r
LEFT JOIN public.agent_schedules AS s ON s.id = r.schedule_id
WHERE r.user_id = %(user_id)s AND r.created_at >= %(since)s AND r.status = 'error'
  AND NOT r.metadata ? 'cancelled'
ORDER BY r.created_at DESC
LIMIT %(limit)s
