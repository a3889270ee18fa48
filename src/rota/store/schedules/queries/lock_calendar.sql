SELECT id FROM public.calendars WHERE name = %(name)s FOR UPDATE
