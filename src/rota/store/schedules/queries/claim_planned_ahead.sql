-- Schedules that a clock planned which was ahead of ours. Columns as when they are due.
SELECT s.id, s.user_id, s.name, s.agent_name, NULL AS prompt, s.cron, s.every_seconds, s.anchor_at,
       s.instants, s.time_zone, s.dst_gap, s.dst_overlap, s.starts_at, s.ends_at, s.max_runs,
       s.jitter_seconds, s.active_hours, s.active_days, s.excluded_days, s.overlap_policy,
       s.catch_up, s.catch_up_window_seconds, s.pause_after_failures, s.result_category,
       '{}'::jsonb AS options, s.is_active, s.pause_note, s.paused_at, s.completed_at,
       s.next_fire_at, s.next_fire_time, s.plan_from, s.runs_started, s.failures_in_row,
       s.revision, s.created_at, coalesce(s.time_zone, u.time_zone, 'UTC') AS resolved_time_zone,
       EXISTS (SELECT FROM public.schedule_calendars AS c WHERE c.schedule_id = s.id)
           AS uses_calendars
FROM public.agent_schedules AS s
LEFT JOIN public.user_settings AS u ON u.user_id = s.user_id
WHERE s.is_active AND s.planned_at > %(planned_after)s
ORDER BY s.planned_at
LIMIT %(limit)s
FOR NO KEY UPDATE OF s SKIP LOCKED
