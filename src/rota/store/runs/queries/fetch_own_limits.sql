SELECT * FROM public.own_limits()
