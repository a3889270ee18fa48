-- Schedules that are due are planned anew, from now on.
UPDATE public.agent_schedules
SET next_fire_at = NULL, next_fire_time = NULL, plan_from = now()
WHERE is_active AND next_fire_at <= now()
