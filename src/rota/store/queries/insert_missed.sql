INSERT INTO public.schedule_occurrences
    (schedule_id, user_id, fire_time, last_fire_time, fire_count, reason, outcome)
SELECT m.*, 'missed'
FROM unnest(
    %(schedule_ids)s::uuid[], %(user_ids)s::uuid[], %(fire_times)s::timestamptz[],
    %(last_fire_times)s::timestamptz[], %(fire_counts)s::integer[], %(reasons)s::text[]
) AS m
ON CONFLICT (schedule_id, fire_time) DO NOTHING
