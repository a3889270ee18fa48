DELETE FROM public.schedule_calendars WHERE schedule_id = %(schedule_id)s
