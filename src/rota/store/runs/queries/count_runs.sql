SELECT count(*)
FROM public.agent_runs AS n
LEFT JOIN public.agent_execution_results AS r ON r.run_id = n.id
WHERE (%(schedule_id)s::uuid IS NULL OR n.schedule_id = %(schedule_id)s)
  AND (%(agent_name)s::text IS NULL OR n.agent_name = %(agent_name)s)
  AND (%(status)s::text IS NULL OR n.status = %(status)s)
  AND (%(result_status)s::text IS NULL OR r.status = %(result_status)s)
  AND (%(trigger)s::text IS NULL OR n.trigger = %(trigger)s)
  AND (%(since)s::timestamptz IS NULL OR n.created_at >= %(since)s)
  AND (%(before)s::timestamptz IS NULL OR n.created_at < %(before)s)
