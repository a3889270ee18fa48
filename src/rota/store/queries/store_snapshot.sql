UPDATE public.agent_runs SET snapshot = %(snapshot)s
WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running' AND snapshot IS NULL
