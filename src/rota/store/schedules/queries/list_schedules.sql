SELECT s.*, coalesce(s.time_zone, u.time_zone, 'UTC') AS resolved_time_zone,
       EXISTS (SELECT FROM public.schedule_calendars AS c WHERE c.schedule_id = s.id)
           AS uses_calendars
FROM public.agent_schedules AS s
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
WHERE %(reference)s::text IS NULL OR s.name = %(reference)s
   OR starts_with(s.id::text, lower(%(reference)s))
ORDER BY s.name
LIMIT CASE WHEN %(reference)s IS NOT NULL THEN 100 END
