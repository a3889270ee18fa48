SELECT l.schedule_id, c.name, d.first_day AS first, d.last_day AS last, d.summary
FROM public.schedule_calendars AS l
JOIN public.calendars AS c ON c.id = l.calendar_id
JOIN public.calendar_days AS d ON d.calendar_id = l.calendar_id
WHERE l.schedule_id = ANY (%(schedule_ids)s)
  AND d.first_day <= %(last)s AND d.last_day >= %(first)s
ORDER BY c.name, d.first_day
