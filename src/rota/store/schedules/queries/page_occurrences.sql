SELECT o.fire_time, o.last_fire_time, o.fire_count, o.outcome, o.reason, o.run_id,
       r.status AS result_status, n.status AS run_status, n.started_at AS run_started_at,
       n.cancel_reason
FROM public.schedule_occurrences AS o
LEFT JOIN public.agent_execution_results AS r ON r.run_id = o.run_id
LEFT JOIN public.agent_runs AS n ON n.id = o.run_id
WHERE o.schedule_id = %(schedule_id)s
  AND o.fire_time < coalesce(%(before)s::timestamptz, 'infinity')
  AND (%(outcome)s::text IS NULL OR o.outcome = %(outcome)s)
ORDER BY o.fire_time DESC
LIMIT %(limit)s
