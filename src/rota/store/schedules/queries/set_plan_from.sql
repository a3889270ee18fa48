UPDATE public.agent_schedules SET plan_from = %(plan_from)s
WHERE id = %(schedule_id)s
