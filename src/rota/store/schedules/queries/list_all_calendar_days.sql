-- The days of all calendars of the transaction's person, in order.
SELECT calendar_id, first_day AS first, last_day AS last, summary FROM public.calendar_days
ORDER BY calendar_id, first_day, last_day
