SELECT count(*) FROM public.calendars
