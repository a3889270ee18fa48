SELECT id FROM public.notifications WHERE starts_with(id::text, %(prefix)s) LIMIT 6
