-- The occurrence is the lock: (schedule, fire time) is unique, so a fire time that was written
-- before writes no second run.
WITH fires AS (
    SELECT * FROM unnest(
        %(run_ids)s::uuid[], %(user_ids)s::uuid[], %(schedule_ids)s::uuid[],
        %(fire_times)s::timestamptz[], %(agent_names)s::text[], %(prompts)s::text[],
        %(triggers)s::text[]
    ) AS f (run_id, user_id, schedule_id, fire_time, agent_name, prompt, trigger)
), runs AS (
    INSERT INTO public.agent_runs
        (id, user_id, schedule_id, fire_time, agent_name, prompt, trigger)
    SELECT f.run_id, f.user_id, f.schedule_id, f.fire_time, f.agent_name, f.prompt, f.trigger
    FROM fires AS f
    WHERE NOT EXISTS (
        SELECT FROM public.schedule_occurrences AS o
        WHERE o.schedule_id = f.schedule_id AND o.fire_time = f.fire_time
    )
    RETURNING id, user_id, schedule_id, fire_time, trigger
)
INSERT INTO public.schedule_occurrences
    (schedule_id, fire_time, user_id, outcome, reason, run_id)
SELECT schedule_id, fire_time, user_id, 'fired',
       CASE trigger WHEN 'catch_up' THEN 'late: caught up within the catch-up window' ELSE '' END,
       id
FROM runs
