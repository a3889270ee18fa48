SELECT key_id FROM public.connections GROUP BY key_id ORDER BY key_id
