SELECT s.id, s.name
FROM public.agent_schedules AS s
WHERE s.id = ANY (%(schedule_ids)s::uuid[])
