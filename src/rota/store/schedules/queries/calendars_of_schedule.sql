SELECT c.name FROM public.schedule_calendars AS l
JOIN public.calendars AS c ON c.id = l.calendar_id
WHERE l.schedule_id = %(schedule_id)s
ORDER BY c.name
