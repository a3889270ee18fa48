UPDATE public.agent_schedules
SET plan_from = %(now)s
WHERE is_active AND next_fire_at IS NULL AND completed_at IS NULL
