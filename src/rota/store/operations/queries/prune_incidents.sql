-- Incidents that are over; one that is open has no closed_at and stays.
WITH due AS MATERIALIZED (
    SELECT id FROM public.incidents
    WHERE closed_at >= coalesce(%(since)s::timestamptz, '-infinity') AND closed_at < %(before)s
    ORDER BY closed_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), incidents AS (
    DELETE FROM public.incidents AS i USING due WHERE i.id = due.id RETURNING i.closed_at
)
SELECT count(*) AS found, max(closed_at) AS latest, count(*) AS incidents FROM incidents
