-- Notifications, read or not, but none of a run that is not over.
WITH due AS MATERIALIZED (
    SELECT n.id FROM public.notifications AS n
    WHERE n.created_at >= coalesce(%(since)s::timestamptz, '-infinity')
      AND n.created_at < %(before)s
      AND NOT EXISTS (
          SELECT FROM public.agent_runs AS r
          WHERE r.id = n.run_id AND r.status NOT IN ('finished', 'cancelled')
      )
    ORDER BY n.created_at
    LIMIT %(limit)s
    FOR UPDATE OF n SKIP LOCKED
), notifications AS (
    DELETE FROM public.notifications AS n USING due WHERE n.id = due.id RETURNING n.created_at
)
SELECT count(*) AS found, max(created_at) AS latest, count(*) AS notifications FROM notifications
