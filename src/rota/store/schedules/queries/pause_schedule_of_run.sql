UPDATE public.agent_schedules SET is_active = false, pause_note = %(note)s, rota_pause_note = %(note)s
WHERE id = (SELECT schedule_id FROM public.agent_runs WHERE id = %(run_id)s) AND is_active
