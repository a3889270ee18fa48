WITH due AS MATERIALIZED (
    SELECT id FROM public.schedule_changes
    WHERE changed_at >= coalesce(%(since)s::timestamptz, '-infinity') AND changed_at < %(before)s
    ORDER BY changed_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), changes AS (
    DELETE FROM public.schedule_changes AS c USING due WHERE c.id = due.id RETURNING c.changed_at
)
SELECT count(*) AS found, max(changed_at) AS latest, count(*) AS schedule_changes FROM changes
