SELECT name FROM public.tools WHERE is_active ORDER BY name
