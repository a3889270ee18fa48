SELECT count(*)
FROM public.agent_execution_results AS r
WHERE (%(agent_name)s::text IS NULL OR r.agent_name = %(agent_name)s)
  AND (%(schedule_id)s::uuid IS NULL OR r.schedule_id = %(schedule_id)s)
  AND (%(status)s::text IS NULL OR r.status = %(status)s)
  AND (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s)
