UPDATE public.tools SET built_in = %(built_in)s WHERE name = %(name)s
