UPDATE public.agent_schedules
SET is_active = true,
    pause_note = left(nullif(concat_ws('; ', nullif(pause_note, ''),
                                       'resumed: ' || nullif(%(note)s, '')), ''), 1000)
WHERE id = ANY (%(schedule_ids)s)
