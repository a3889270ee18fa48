-- The occurrence is the lock: (schedule, fire time) is unique, so a fire time that was taken
-- before writes no second run. A row that says "missed" gives way: its rule was changed as it was
-- due, and the new rule has it too. Prompts are copied here, and go through no scheduler.
WITH fires AS (
    SELECT * FROM unnest(
        %(run_ids)s::uuid[], %(schedule_ids)s::uuid[], %(fire_times)s::timestamptz[],
        %(triggers)s::text[], %(serial)s::boolean[]
    ) AS f (run_id, schedule_id, fire_time, trigger, is_serial)
), runs AS (
    INSERT INTO public.agent_runs
        (id, user_id, schedule_id, fire_time, agent_name, prompt, trigger, is_serial)
    SELECT f.run_id, s.user_id, s.id, f.fire_time, s.agent_name, coalesce(s.prompt, ''), f.trigger,
           f.is_serial
    FROM fires AS f JOIN public.agent_schedules AS s ON s.id = f.schedule_id
    WHERE NOT EXISTS (
        SELECT FROM public.schedule_occurrences AS o
        WHERE o.schedule_id = f.schedule_id AND o.fire_time = f.fire_time
          AND o.outcome <> 'missed'
    )
    RETURNING id, user_id, schedule_id, fire_time, trigger
)
INSERT INTO public.schedule_occurrences
    (schedule_id, fire_time, user_id, outcome, reason, run_id)
SELECT schedule_id, fire_time, user_id, 'fired',
       CASE trigger WHEN 'catch_up' THEN 'late: caught up within the catch-up window' ELSE '' END,
       id
FROM runs
ON CONFLICT (schedule_id, fire_time) DO UPDATE
SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, run_id = EXCLUDED.run_id,
    last_fire_time = NULL, fire_count = 1
