-- What was missed in an incident, by schedule; `fires` NULL: too many to count.
SELECT s.name, coalesce(s.time_zone, u.time_zone, 'UTC') AS time_zone,
       CASE WHEN bool_or(o.fire_count IS NULL) THEN NULL ELSE sum(o.fire_count) END AS fires,
       min(o.fire_time) AS first, max(coalesce(o.last_fire_time, o.fire_time)) AS last,
       bool_or(late.trigger IS NOT NULL) AS ran_late
FROM public.schedule_occurrences AS o
JOIN public.agent_schedules AS s ON s.id = o.schedule_id
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
LEFT JOIN LATERAL (
    SELECT r.trigger FROM public.agent_runs AS r
    WHERE r.schedule_id = o.schedule_id AND r.trigger = 'catch_up'
      AND r.created_at >= %(since)s
    LIMIT 1
) AS late ON true
WHERE o.user_id = %(user_id)s AND o.outcome = 'missed' AND o.created_at >= %(since)s
GROUP BY s.id, s.name, s.time_zone, u.time_zone
ORDER BY min(o.fire_time), s.name
LIMIT 21
