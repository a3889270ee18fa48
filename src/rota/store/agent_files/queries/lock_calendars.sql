SELECT id FROM public.calendars WHERE user_id = %(user_id)s ORDER BY id FOR UPDATE
