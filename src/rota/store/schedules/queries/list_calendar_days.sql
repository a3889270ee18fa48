SELECT first_day AS first, last_day AS last, summary FROM public.calendar_days
WHERE calendar_id = %(calendar_id)s
ORDER BY first_day, last_day
