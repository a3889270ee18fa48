-- The runs that ended first, of those whose journal is gone, with their results and fire times. A
-- fire time that was written later than its run should have been stays; the key takes its run_id.
WITH due AS MATERIALIZED (
    SELECT id FROM rota.prunable_runs
    WHERE journal_pruned_at IS NOT NULL
      AND finished_at >= coalesce(%(since)s::timestamptz, '-infinity') AND finished_at < %(before)s
    ORDER BY finished_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), results AS (
    DELETE FROM public.agent_execution_results AS r USING due WHERE r.run_id = due.id RETURNING 1
), occurrences AS (
    DELETE FROM public.schedule_occurrences AS o USING due
    WHERE o.run_id = due.id
      AND o.created_at < %(before)s AND coalesce(o.last_fire_time, o.fire_time) < %(before)s
    RETURNING 1
), runs AS (
    DELETE FROM public.agent_runs AS r USING due WHERE r.id = due.id RETURNING r.finished_at
)
SELECT count(*) AS found, max(finished_at) AS latest, count(*) AS runs,
       (SELECT count(*) FROM results) AS results,
       (SELECT count(*) FROM occurrences) AS occurrences
FROM runs
