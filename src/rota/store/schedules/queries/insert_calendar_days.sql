INSERT INTO public.calendar_days (calendar_id, user_id, first_day, last_day, summary)
SELECT %(calendar_id)s, %(user_id)s, d.first_day, d.last_day, d.summary
FROM unnest(%(first_days)s::date[], %(last_days)s::date[], %(summaries)s::text[])
    AS d (first_day, last_day, summary)
ON CONFLICT (calendar_id, first_day, last_day) DO UPDATE SET summary = EXCLUDED.summary
