SELECT coalesce(nullif(cancel_reason, ''), 'it was cancelled') FROM public.agent_runs
WHERE id = %(run_id)s AND cancel_requested_at IS NOT NULL
