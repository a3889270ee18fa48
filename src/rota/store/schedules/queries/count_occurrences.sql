SELECT count(*)
FROM public.schedule_occurrences
WHERE schedule_id = %(schedule_id)s AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
