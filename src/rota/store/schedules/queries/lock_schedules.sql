-- Schedules by their names or ids, or all of a filter; in the order of ids, so that two do not deadlock.
SELECT s.*, coalesce(s.time_zone, u.time_zone, 'UTC') AS resolved_time_zone,
       EXISTS (SELECT FROM public.schedule_calendars AS c WHERE c.schedule_id = s.id)
           AS uses_calendars
FROM public.agent_schedules AS s
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
WHERE (%(names)s::text[] IS NULL OR s.name = ANY (%(names)s) OR s.id::text = ANY (%(names)s))
  AND (%(agent_name)s::text IS NULL OR s.agent_name = %(agent_name)s)
  AND (%(prefix)s::text IS NULL OR starts_with(s.name, %(prefix)s))
  AND (%(state)s::text IS NULL OR %(state)s = CASE
           WHEN NOT s.is_active THEN 'paused'
           WHEN s.completed_at IS NOT NULL THEN 'completed'
           ELSE 'active' END)
ORDER BY s.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF s
