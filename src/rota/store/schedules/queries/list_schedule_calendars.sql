-- The calendars that each schedule of the transaction's person keeps.
SELECT l.schedule_id, array_agg(c.name ORDER BY c.name) AS names
FROM public.schedule_calendars AS l
JOIN public.calendars AS c ON c.id = l.calendar_id
GROUP BY l.schedule_id
