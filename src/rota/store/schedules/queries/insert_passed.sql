-- Fire times without a run, each with its reason. A single fire time has no last one.
INSERT INTO public.schedule_occurrences
    (schedule_id, user_id, fire_time, last_fire_time, fire_count, outcome, reason)
SELECT p.schedule_id, p.user_id, p.first, CASE WHEN p.count IS DISTINCT FROM 1 THEN p.last END,
       p.count, p.outcome, p.reason
FROM jsonb_to_recordset(%(passed)s::jsonb) AS p (
    schedule_id uuid, user_id uuid, first timestamptz, last timestamptz, count integer,
    outcome text, reason text)
ON CONFLICT (schedule_id, fire_time) DO NOTHING
