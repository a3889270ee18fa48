DELETE FROM public.agent_schedules WHERE id = %(schedule_id)s
