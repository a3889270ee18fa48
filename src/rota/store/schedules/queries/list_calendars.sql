SELECT c.id, c.name, c.source, c.covers_until,
       (SELECT count(*) FROM public.calendar_days AS d WHERE d.calendar_id = c.id) AS days,
       (SELECT min(greatest(d.first_day, %(today)s)) FROM public.calendar_days AS d
        WHERE d.calendar_id = c.id AND d.last_day >= %(today)s) AS next_day
FROM public.calendars AS c
WHERE (%(name)s::text IS NULL OR c.name = %(name)s)
  AND (%(after)s::text IS NULL OR c.name > %(after)s)
ORDER BY c.name
LIMIT %(limit)s
