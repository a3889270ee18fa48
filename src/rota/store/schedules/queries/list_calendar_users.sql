SELECT s.name FROM public.schedule_calendars AS l
JOIN public.agent_schedules AS s ON s.id = l.schedule_id
WHERE l.calendar_id = %(calendar_id)s
ORDER BY s.name
