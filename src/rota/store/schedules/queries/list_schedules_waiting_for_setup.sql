SELECT s.id AS schedule_id, n.id AS run_id, n.fire_time
FROM public.agent_schedules AS s
CROSS JOIN LATERAL (
    SELECT id, fire_time
    FROM public.agent_runs
    WHERE schedule_id = s.id AND status IN ('finished', 'cancelled')
    ORDER BY created_at DESC, fire_time DESC NULLS LAST
    LIMIT 1
) AS n
JOIN public.agent_execution_results AS r ON r.run_id = n.id
WHERE s.user_id = %(user_id)s AND NOT s.is_active AND s.pause_note = s.rota_pause_note
  AND r.metadata ->> 'setup_required' = %(what)s
ORDER BY s.name, s.id
