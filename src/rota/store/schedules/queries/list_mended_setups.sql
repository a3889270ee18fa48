-- What schedules wait for, of connections that have worked since the run that failed. As `setups_met`.
SELECT DISTINCT s.user_id, r.metadata ->> 'setup_required' AS what
FROM public.connections AS c
JOIN public.agent_schedules AS s ON s.user_id = c.user_id
CROSS JOIN LATERAL (
    SELECT id
    FROM public.agent_runs
    WHERE schedule_id = s.id AND status IN ('finished', 'cancelled')
    ORDER BY created_at DESC, fire_time DESC NULLS LAST
    LIMIT 1
) AS n
JOIN public.agent_execution_results AS r ON r.run_id = n.id
WHERE c.is_active AND c.state = 'ok' AND (c.expires_at IS NULL OR c.expires_at > %(now)s)
  AND NOT s.is_active AND s.pause_note = s.rota_pause_note
  AND r.metadata ->> 'setup_required' = ANY (ARRAY[
      'connection:' || c.name,
      'connection:' || c.service,
      'connection:' || (%(gives)s::jsonb ->> c.service)
  ])
  AND greatest(c.last_used_at, c.last_checked_at) > r.created_at
