SELECT count(*) FROM public.agent_runs WHERE user_id = %(user_id)s AND status = 'running'
