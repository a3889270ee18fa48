-- A fire time that became missed by a change of its schedule, and that the new rule has, too.
DELETE FROM public.schedule_occurrences AS o
USING unnest(%(schedule_ids)s::uuid[], %(fire_times)s::timestamptz[]) AS f (schedule_id, fire_time)
WHERE o.schedule_id = f.schedule_id AND o.fire_time = f.fire_time AND o.outcome = 'missed'
