SELECT id FROM public.agent_runs WHERE id = %(run_id)s FOR NO KEY UPDATE SKIP LOCKED
