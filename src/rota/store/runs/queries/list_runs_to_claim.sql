SELECT id FROM public.agent_runs
WHERE id = ANY (%(run_ids)s) AND status IN ('waiting', 'queued', 'running')
