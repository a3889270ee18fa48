-- Fire times that led to no run, or whose run is gone.
WITH due AS MATERIALIZED (
    SELECT schedule_id, fire_time FROM public.schedule_occurrences
    WHERE run_id IS NULL
      AND created_at >= coalesce(%(since)s::timestamptz, '-infinity') AND created_at < %(before)s
      AND coalesce(last_fire_time, fire_time) < %(before)s
    ORDER BY created_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), occurrences AS (
    DELETE FROM public.schedule_occurrences AS o USING due
    WHERE o.schedule_id = due.schedule_id AND o.fire_time = due.fire_time
    RETURNING o.created_at
)
SELECT count(*) AS found, max(created_at) AS latest, count(*) AS occurrences FROM occurrences
