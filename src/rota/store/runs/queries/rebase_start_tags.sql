-- Start tags grow for as long as there is no pause. Begin them anew, in runs and jobs alike, in the
-- classes that have come too far; all of a class, or none while somebody has one of them locked.
WITH bases AS (
    SELECT sign(priority) AS class, min(start_tag) AS tag FROM public.agent_runs
    WHERE status = 'queued' GROUP BY sign(priority) HAVING min(start_tag) > %(above)s
), free AS MATERIALIZED (
    SELECT r.id, sign(r.priority) AS class FROM public.agent_runs AS r
    WHERE rota.holds_slot(r) AND sign(r.priority) IN (SELECT class FROM bases)
    FOR NO KEY UPDATE SKIP LOCKED
), whole AS (
    SELECT class FROM free GROUP BY class
    HAVING count(*) = (SELECT count(*) FROM public.agent_runs AS r
                       WHERE rota.holds_slot(r) AND sign(r.priority) = free.class)
), moved AS (
    UPDATE public.agent_runs AS r
    SET start_tag = r.start_tag - b.tag
    FROM bases AS b
    JOIN whole USING (class)
    JOIN free AS f USING (class)
    WHERE r.id = f.id
    RETURNING r.id, r.status, b.tag AS by
)
UPDATE rota.pgqueuer AS q
SET priority = q.priority + m.by
FROM moved AS m
WHERE q.dedupe_key = m.id::text AND q.status = 'queued' AND m.status = 'queued'
