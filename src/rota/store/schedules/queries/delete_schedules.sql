DELETE FROM public.agent_schedules WHERE id = ANY (%(schedule_ids)s)
