SELECT id FROM public.agent_schedules WHERE user_id = %(user_id)s ORDER BY id FOR UPDATE
