-- Fire times that lead to no run, each with its reason.
INSERT INTO public.schedule_occurrences
    (schedule_id, user_id, fire_time, last_fire_time, fire_count, outcome, reason)
SELECT p.*
FROM unnest(
    %(schedule_ids)s::uuid[], %(user_ids)s::uuid[], %(fire_times)s::timestamptz[],
    %(last_fire_times)s::timestamptz[], %(fire_counts)s::integer[], %(outcomes)s::text[],
    %(reasons)s::text[]
) AS p
ON CONFLICT (schedule_id, fire_time) DO NOTHING
