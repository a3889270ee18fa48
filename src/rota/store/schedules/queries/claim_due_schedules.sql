SELECT s.*, coalesce(s.time_zone, u.time_zone, 'UTC') AS resolved_time_zone,
       EXISTS (SELECT FROM public.schedule_calendars AS c WHERE c.schedule_id = s.id)
           AS uses_calendars
FROM public.agent_schedules AS s
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
WHERE s.is_active AND s.next_fire_at <= %(now)s
ORDER BY s.next_fire_at
LIMIT %(limit)s
FOR NO KEY UPDATE OF s SKIP LOCKED
