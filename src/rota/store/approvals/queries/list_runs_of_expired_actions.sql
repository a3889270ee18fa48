-- NULL: of runs that are gone. In no order: those that somebody has locked hide no others.
SELECT run_id FROM public.pending_actions
WHERE status = 'pending' AND expires_at <= now()
GROUP BY run_id
ORDER BY random()
LIMIT %(limit)s
