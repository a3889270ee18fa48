-- NULL: of runs that are gone.
SELECT DISTINCT run_id FROM public.pending_actions
WHERE status = 'pending' AND expires_at <= now()
LIMIT %(limit)s
