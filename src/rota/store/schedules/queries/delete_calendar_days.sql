DELETE FROM public.calendar_days WHERE calendar_id = %(calendar_id)s
