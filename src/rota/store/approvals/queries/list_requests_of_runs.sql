-- The waiting approval requests of runs, the highest risk first.
SELECT a.run_id, a.id, a.tool_name, a.risk, a.account, a.arguments
FROM public.pending_actions AS a
WHERE a.run_id = ANY (%(run_ids)s) AND a.status = 'pending'
ORDER BY a.run_id, array_position(ARRAY['high', 'medium', 'low'], a.risk), a.created_at, a.id
