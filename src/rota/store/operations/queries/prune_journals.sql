-- The journals of the runs that ended first, and a mark on those runs.
WITH due AS MATERIALIZED (
    SELECT id FROM rota.prunable_runs
    WHERE journal_pruned_at IS NULL
      AND finished_at >= coalesce(%(since)s::timestamptz, '-infinity') AND finished_at < %(before)s
    ORDER BY finished_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), steps AS (
    DELETE FROM public.agent_run_steps AS s USING due WHERE s.run_id = due.id RETURNING 1
), marked AS (
    UPDATE public.agent_runs AS r SET journal_pruned_at = %(now)s
    FROM due WHERE r.id = due.id
    RETURNING r.finished_at
)
SELECT count(*) AS found, max(finished_at) AS latest, (SELECT count(*) FROM steps) AS steps
FROM marked
