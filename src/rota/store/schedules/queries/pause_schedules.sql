UPDATE public.agent_schedules
SET is_active = false, pause_note = coalesce(nullif(%(note)s, ''), pause_note)
WHERE id = ANY (%(schedule_ids)s)
