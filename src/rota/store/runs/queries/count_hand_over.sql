UPDATE public.agent_runs SET hand_overs = hand_overs + 1
WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
