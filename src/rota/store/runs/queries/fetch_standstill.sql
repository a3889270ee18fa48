SELECT status, cancel_reason FROM public.agent_runs
WHERE id = %(run_id)s AND status IN ('cancelled', 'suspended')
