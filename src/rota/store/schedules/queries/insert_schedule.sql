INSERT INTO public.agent_schedules
    (user_id, name, agent_name, prompt, cron, every_seconds, anchor_at, instants, time_zone,
     dst_gap, dst_overlap, starts_at, ends_at, max_runs, jitter_seconds, active_hours, active_days,
     excluded_days, overlap_policy, catch_up, catch_up_window_seconds, pause_after_failures,
     is_active, pause_note, options)
VALUES
    (%(user_id)s, %(name)s, %(agent_name)s, %(prompt)s, %(cron)s,
     extract(epoch FROM %(every)s::interval),
     CASE WHEN %(every)s IS NOT NULL THEN %(anchor)s::timestamptz END,
     nullif(%(instants)s::timestamptz[], '{}'), %(time_zone)s, %(dst_gap)s, %(dst_overlap)s,
     %(starts_at)s, %(ends_at)s, %(max_runs)s, extract(epoch FROM %(jitter)s::interval),
     %(active_hours)s, %(active_days)s, %(excluded_days)s, %(overlap)s, %(catch_up)s,
     extract(epoch FROM %(catch_up_window)s::interval), %(pause_after_failures)s, %(is_active)s,
     %(pause_note)s, %(options)s)
RETURNING id
