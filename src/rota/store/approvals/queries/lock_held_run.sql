SELECT id FROM public.agent_runs
WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
FOR NO KEY UPDATE
