INSERT INTO public.calendars (user_id, name, source, covers_until)
VALUES (%(user_id)s, %(name)s, %(source)s, %(covers_until)s)
ON CONFLICT (user_id, name) DO UPDATE
SET source = EXCLUDED.source, covers_until = EXCLUDED.covers_until
RETURNING id
