INSERT INTO public.agent_schedules
    (user_id, name, agent_name, prompt, cron, every_seconds, anchor_at, instants, time_zone,
     dst_gap, dst_overlap, starts_at, ends_at, max_runs, jitter_seconds, active_hours, active_days,
     excluded_days, overlap_policy, catch_up, catch_up_window_seconds, pause_after_failures,
     is_active, pause_note, options)
VALUES
    (%(user_id)s, %(name)s, %(agent_name)s, %(prompt)s, %(cron)s, %(every_seconds)s, %(anchor_at)s,
     %(instants)s, %(time_zone)s, %(dst_gap)s, %(dst_overlap)s, %(starts_at)s, %(ends_at)s,
     %(max_runs)s, %(jitter_seconds)s, %(active_hours)s, %(active_days)s, %(excluded_days)s,
     %(overlap_policy)s, %(catch_up)s, %(catch_up_window_seconds)s, %(pause_after_failures)s,
     %(is_active)s, %(pause_note)s, %(options)s)
RETURNING id
