SELECT count(*) FROM public.pending_actions WHERE run_id = %(run_id)s
