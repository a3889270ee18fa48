UPDATE public.agent_schedules
SET agent_name = %(agent_name)s, cron = %(cron)s, time_zone = %(time_zone)s, prompt = %(prompt)s
WHERE id = %(schedule_id)s
