UPDATE public.agent_schedules SET is_active = true
WHERE id = %(schedule_id)s AND NOT is_active AND pause_note = rota_pause_note
