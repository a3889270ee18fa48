INSERT INTO public.calendars (user_id, name, source, covers_until)
VALUES (%(user_id)s, %(name)s, '', NULL)
ON CONFLICT (user_id, name) DO NOTHING
RETURNING id
