SELECT s.id, s.user_id, s.name, s.agent_name, s.prompt, s.cron,
       coalesce(s.time_zone, u.time_zone, 'UTC') AS time_zone,
       s.time_zone IS NULL AS follows_owner_zone, s.result_category, s.catch_up_window_seconds, s.is_active,
       s.pause_note, s.next_fire_at, s.created_at
FROM public.agent_schedules AS s
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
WHERE s.name = %(reference)s OR starts_with(s.id::text, %(prefix)s)
ORDER BY s.name
LIMIT 100
