-- Of runs that waited for them and are over: what was not begun does not run any more, and of what
-- was begun nobody knows.
UPDATE public.pending_actions AS a
SET status = CASE a.status WHEN 'pending' THEN 'withdrawn' WHEN 'approved' THEN 'failed'
                           ELSE 'unknown' END,
    finished_at = CASE a.status WHEN 'pending' THEN NULL ELSE now() END,
    result = CASE a.status WHEN 'pending' THEN NULL
                           WHEN 'approved' THEN 'Its run ended before it could run.'
                           ELSE 'Its run ended before the tool answered.' END
FROM public.agent_runs AS r
WHERE r.id = a.run_id AND a.mode = 'suspend' AND a.status IN ('pending', 'approved', 'running')
  AND r.status IN ('finished', 'cancelled')
RETURNING a.*, rota.record_decision(
    a, CASE a.status WHEN 'withdrawn' THEN 'withdrawn' ELSE 'approved' END,
    CASE a.status WHEN 'unknown' THEN 'unknown' ELSE 'not_run' END,
    'rota', 'scheduler', 'its run is over')
