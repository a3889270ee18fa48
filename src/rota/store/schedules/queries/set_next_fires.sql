-- A schedule without a next fire time is completed.
UPDATE public.agent_schedules AS s
SET next_fire_at = p.due_at,
    next_fire_time = nullif(p.fire_time, p.due_at),
    completed_at = CASE WHEN p.due_at IS NULL THEN now() END,
    planned_at = %(now)s,
    runs_started = s.runs_started + p.started,
    paused_at = NULL,
    pause_note = NULL
FROM jsonb_to_recordset(%(plans)s::jsonb) AS p (
    schedule_id uuid, due_at timestamptz, fire_time timestamptz, started integer)
WHERE s.id = p.schedule_id
