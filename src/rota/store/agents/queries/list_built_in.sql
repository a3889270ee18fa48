SELECT name, built_in FROM public.tools WHERE name = ANY (%(names)s)
