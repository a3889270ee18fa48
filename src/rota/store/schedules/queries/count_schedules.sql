SELECT count(*)
FROM public.agent_schedules AS s
WHERE (%(agent_name)s::text IS NULL OR s.agent_name = %(agent_name)s)
  AND (%(prefix)s::text IS NULL OR starts_with(s.name, %(prefix)s))
  AND (%(state)s::text IS NULL OR %(state)s = CASE
           WHEN NOT s.is_active THEN 'paused'
           WHEN s.completed_at IS NOT NULL THEN 'completed'
           ELSE 'active' END)
