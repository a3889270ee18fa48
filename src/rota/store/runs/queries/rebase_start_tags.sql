-- Start tags grow for as long as there is no pause. Begin them anew, in runs and jobs alike, in the
-- classes that have come too far.
WITH bases AS (
    SELECT sign(priority) AS class, min(start_tag) AS tag FROM public.agent_runs
    WHERE status = 'queued' GROUP BY sign(priority) HAVING min(start_tag) > %(above)s
), moved AS (
    UPDATE public.agent_runs AS r
    SET start_tag = r.start_tag - b.tag
    FROM bases AS b
    WHERE sign(r.priority) = b.class AND rota.holds_slot(r)
    RETURNING r.id, r.status, b.tag AS by
)
UPDATE rota.pgqueuer AS q
SET priority = q.priority + m.by
FROM moved AS m
WHERE q.dedupe_key = m.id::text AND q.status = 'queued' AND m.status = 'queued'
