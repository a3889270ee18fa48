SELECT id FROM public.agent_runs
WHERE id = ANY (%(run_ids)s) AND cancel_requested_at IS NOT NULL
