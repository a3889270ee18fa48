DELETE FROM public.connections WHERE service = %(service)s
