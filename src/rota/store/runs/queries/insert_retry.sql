-- A later run of what a run was asked, at the time that its place in the chain of retries gives.
-- Nothing where its schedule was deleted meanwhile. That of a backfill is one too: it does not
-- compete with the present.
WITH RECURSIVE chain AS (
    SELECT r.retry_of, 1 AS place FROM public.agent_runs AS r WHERE r.id = %(run_id)s
    UNION ALL
    SELECT r.retry_of, c.place + 1
    FROM chain AS c JOIN public.agent_runs AS r ON r.id = c.retry_of
    WHERE c.place < cardinality(%(times)s::timestamptz[])
)
INSERT INTO public.agent_runs
    (user_id, schedule_id, agent_name, prompt, trigger, priority, fire_time, options, not_before,
     retry_of, is_serial)
SELECT r.user_id, r.schedule_id, r.agent_name, r.prompt,
       CASE r.trigger WHEN 'backfill' THEN 'backfill' ELSE 'retry' END, r.priority, r.fire_time,
       %(options)s, (%(times)s::timestamptz[])[(SELECT max(place) FROM chain)], r.id, r.is_serial
FROM public.agent_runs AS r
WHERE r.id = %(run_id)s AND r.schedule_id IS NOT DISTINCT FROM %(schedule_id)s::uuid
RETURNING id, not_before
