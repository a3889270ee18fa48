DELETE FROM public.calendars WHERE id = %(calendar_id)s
