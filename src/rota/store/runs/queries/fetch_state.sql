SELECT status, coalesce(nullif(cancel_reason, ''), 'no reason was given') AS cancel_reason
FROM public.agent_runs
WHERE id = %(run_id)s
