UPDATE public.agent_schedules
SET name = %(name)s, agent_name = %(agent_name)s, prompt = %(prompt)s, cron = %(cron)s,
    every_seconds = extract(epoch FROM %(every)s::interval),
    anchor_at = CASE WHEN %(every)s IS NOT NULL THEN %(anchor)s::timestamptz END,
    instants = nullif(%(instants)s::timestamptz[], '{}'),
    time_zone = %(time_zone)s, dst_gap = %(dst_gap)s, dst_overlap = %(dst_overlap)s,
    starts_at = %(starts_at)s, ends_at = %(ends_at)s, max_runs = %(max_runs)s,
    jitter_seconds = extract(epoch FROM %(jitter)s::interval), active_hours = %(active_hours)s,
    active_days = %(active_days)s, excluded_days = %(excluded_days)s, overlap_policy = %(overlap)s,
    catch_up = %(catch_up)s,
    catch_up_window_seconds = extract(epoch FROM %(catch_up_window)s::interval),
    pause_after_failures = %(pause_after_failures)s, options = %(options)s
WHERE id = %(schedule_id)s
