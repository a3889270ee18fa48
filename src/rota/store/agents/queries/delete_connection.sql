DELETE FROM public.connections WHERE name = %(name)s
