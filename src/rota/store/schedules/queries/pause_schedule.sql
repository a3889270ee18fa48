UPDATE public.agent_schedules SET is_active = false, pause_note = %(note)s, rota_pause_note = %(note)s
WHERE id = %(schedule_id)s AND is_active
