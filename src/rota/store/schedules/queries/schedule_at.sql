-- The row as it was at an instant: before the first change that came after it.
SELECT s.*, coalesce(s.time_zone, u.time_zone, 'UTC') AS resolved_time_zone,
       EXISTS (SELECT FROM public.schedule_calendars AS k WHERE k.schedule_id = s.id)
           AS uses_calendars, c.changed_at
FROM public.schedule_changes AS c
CROSS JOIN LATERAL jsonb_populate_record(NULL::public.agent_schedules, c.was) AS s
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
WHERE c.schedule_id = %(schedule_id)s AND c.changed_at > %(at)s
ORDER BY c.changed_at, c.id
LIMIT 1
