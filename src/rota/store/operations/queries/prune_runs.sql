-- The runs that ended first, of those whose journal is gone, with their results and fire times. A
-- fire time that was written later than its run should have been stays; the key takes its run_id. So
-- it does from notifications: where their owner has one of them locked, its run is passed over.
WITH due AS MATERIALIZED (
    SELECT id, finished_at FROM rota.prunable_runs
    WHERE journal_pruned_at IS NOT NULL
      AND finished_at >= coalesce(%(since)s::timestamptz, '-infinity') AND finished_at < %(before)s
    ORDER BY finished_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), told AS MATERIALIZED (
    SELECT n.id FROM public.notifications AS n JOIN due ON n.run_id = due.id
    FOR NO KEY UPDATE OF n SKIP LOCKED
), free AS MATERIALIZED (
    SELECT due.id FROM due
    WHERE NOT EXISTS (SELECT FROM public.notifications AS n
                      WHERE n.run_id = due.id AND n.id NOT IN (SELECT id FROM told))
), results AS (
    DELETE FROM public.agent_execution_results AS r USING free WHERE r.run_id = free.id RETURNING 1
), occurrences AS (
    DELETE FROM public.schedule_occurrences AS o USING free
    WHERE o.run_id = free.id
      AND o.created_at < %(before)s AND coalesce(o.last_fire_time, o.fire_time) < %(before)s
    RETURNING 1
), runs AS (
    DELETE FROM public.agent_runs AS r USING free WHERE r.id = free.id RETURNING 1
)
SELECT (SELECT count(*) FROM due) AS found, (SELECT max(finished_at) FROM due) AS latest,
       count(*) AS runs,
       (SELECT count(*) FROM results) AS results,
       (SELECT count(*) FROM occurrences) AS occurrences
FROM runs
