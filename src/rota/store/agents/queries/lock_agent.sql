SELECT id FROM public.agent_configurations
WHERE user_id = %(user_id)s AND agent_name = %(agent_name)s
FOR UPDATE
