SELECT min(next_fire_at) FROM public.agent_schedules WHERE is_active AND next_fire_at IS NOT NULL
