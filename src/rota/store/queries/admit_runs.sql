-- Round-robin: everybody's first waiting run before anybody's second. One admission at a time, so
-- that `ahead` holds with many schedulers.
WITH sole AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(1919906913, 1) AS held
), room AS MATERIALIZED (
    SELECT CASE WHEN (SELECT held FROM sole)
                THEN greatest(0, %(ahead)s - (SELECT count(*) FROM public.agent_runs
                                              WHERE status = 'queued'))
                ELSE 0 END AS places
), turns AS (
    SELECT id, priority, created_at, fire_time,
           row_number() OVER (PARTITION BY user_id
                              ORDER BY priority DESC, created_at, fire_time, id) AS turn
    FROM rota.runs_to_admit
    WHERE (SELECT places FROM room) > 0
), chosen AS (
    SELECT id, row_number() OVER (ORDER BY turn, priority DESC, created_at, fire_time, id) AS place
    FROM turns
    ORDER BY turn, priority DESC, created_at, fire_time, id
    LIMIT (SELECT places FROM room)
)
UPDATE public.agent_runs AS r
SET status = 'queued', queued_at = now()
FROM chosen AS c
WHERE r.id = c.id AND r.status = 'waiting'
RETURNING r.id, r.priority, c.place
