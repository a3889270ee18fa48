SELECT DISTINCT model FROM public.agent_configurations WHERE is_active ORDER BY model
