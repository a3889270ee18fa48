INSERT INTO public.agent_schedules
    (user_id, name, agent_name, cron, time_zone, prompt, catch_up_window_seconds)
VALUES (%(user_id)s, %(name)s, %(agent_name)s, %(cron)s, %(time_zone)s, %(prompt)s,
        %(catch_up_window_seconds)s)
RETURNING id
