SELECT n.schedule_id, n.id AS run_id, n.finished_at,
       CASE n.status WHEN 'cancelled' THEN 'cancelled' ELSE r.status END AS outcome
FROM unnest(%(schedule_ids)s::uuid[]) AS s (id)
CROSS JOIN LATERAL (
    SELECT schedule_id, id, status, finished_at
    FROM public.agent_runs
    WHERE schedule_id = s.id AND status IN ('finished', 'cancelled')
    ORDER BY created_at DESC, fire_time DESC NULLS LAST
    LIMIT 1
) AS n
LEFT JOIN public.agent_execution_results AS r ON r.run_id = n.id
