DELETE FROM public.schedule_calendars
WHERE schedule_id = %(schedule_id)s
  AND calendar_id NOT IN (SELECT id FROM public.calendars WHERE name = ANY (%(names)s))
