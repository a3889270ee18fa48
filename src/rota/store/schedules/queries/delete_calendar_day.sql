DELETE FROM public.calendar_days
WHERE calendar_id = %(calendar_id)s AND first_day = %(first)s AND last_day = %(last)s
