-- A schedule without a next fire time is completed.
UPDATE public.agent_schedules AS s
SET next_fire_at = p.next_fire_at,
    next_fire_time = nullif(p.next_fire_time, p.next_fire_at),
    completed_at = CASE WHEN p.next_fire_at IS NULL THEN now() END,
    runs_started = s.runs_started + p.started,
    paused_at = NULL,
    pause_note = NULL
FROM unnest(%(ids)s::uuid[], %(next_fire_ats)s::timestamptz[], %(next_fire_times)s::timestamptz[],
            %(started)s::integer[])
    AS p (id, next_fire_at, next_fire_time, started)
WHERE s.id = p.id
