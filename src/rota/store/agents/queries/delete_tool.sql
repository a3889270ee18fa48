DELETE FROM public.tools WHERE name = %(name)s
