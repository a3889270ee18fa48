-- Closes the open actions of runs that waited for them and have ended. An action that had not begun
-- no longer runs; the outcome of a begun action is unknown.
WITH left_over AS (
    SELECT a.id FROM public.pending_actions AS a
    JOIN public.agent_runs AS r ON r.id = a.run_id AND r.status IN ('finished', 'cancelled')
    WHERE a.mode = 'suspend' AND a.status IN ('pending', 'approved', 'running')
    FOR NO KEY UPDATE OF a SKIP LOCKED
)
UPDATE public.pending_actions AS a
SET status = CASE a.status WHEN 'pending' THEN 'withdrawn' WHEN 'approved' THEN 'failed'
                           ELSE 'unknown' END,
    finished_at = CASE a.status WHEN 'pending' THEN NULL ELSE now() END,
    result = CASE a.status WHEN 'pending' THEN NULL
                           WHEN 'approved' THEN 'Its run ended before it could run.'
                           ELSE 'Its run ended before the tool answered.' END
FROM left_over AS l
WHERE a.id = l.id
RETURNING a.*, rota.record_decision(
    a, CASE a.status WHEN 'withdrawn' THEN 'withdrawn' ELSE 'approved' END,
    CASE a.status WHEN 'unknown' THEN 'unknown' ELSE 'not_run' END,
    'rota', 'scheduler', 'its run is over')
