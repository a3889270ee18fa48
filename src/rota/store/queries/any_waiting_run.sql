SELECT EXISTS (SELECT FROM public.agent_runs WHERE status = 'waiting')
