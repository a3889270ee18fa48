-- Locks the unfinished runs of schedules; returns those schedules of which somebody else has one.
WITH unfinished AS MATERIALIZED (
    SELECT r.id, r.schedule_id FROM public.agent_runs AS r
    WHERE r.schedule_id = ANY (%(schedule_ids)s) AND rota.is_unfinished(r)
), free AS MATERIALIZED (
    SELECT id FROM public.agent_runs WHERE id IN (SELECT id FROM unfinished)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT DISTINCT schedule_id FROM unfinished WHERE id NOT IN (SELECT id FROM free)
