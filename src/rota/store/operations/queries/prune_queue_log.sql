-- Log entries of the queue about jobs that are no longer in it.
WITH due AS MATERIALIZED (
    SELECT l.id FROM rota.pgqueuer_log AS l
    WHERE l.created >= coalesce(%(since)s::timestamptz, '-infinity') AND l.created < %(before)s
      AND NOT EXISTS (SELECT FROM rota.pgqueuer AS j WHERE j.id = l.job_id)
    ORDER BY l.created
    LIMIT %(limit)s
    FOR UPDATE OF l SKIP LOCKED
), log AS (
    DELETE FROM rota.pgqueuer_log AS l USING due WHERE l.id = due.id RETURNING l.created
)
SELECT count(*) AS found, max(created) AS latest, count(*) AS queue_log FROM log
