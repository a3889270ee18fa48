SELECT id FROM public.agent_configurations WHERE user_id = %(user_id)s ORDER BY id FOR UPDATE
