UPDATE public.agent_schedules SET is_active = %(active)s, pause_note = %(note)s
WHERE id = %(schedule_id)s
