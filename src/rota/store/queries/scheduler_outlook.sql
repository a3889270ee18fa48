-- What a scheduler has to look forward to: the earliest fire, and runs that only lack room.
SELECT (SELECT min(next_fire_at) FROM public.agent_schedules
        WHERE is_active AND next_fire_at IS NOT NULL),
       EXISTS (SELECT FROM rota.runs_to_admit)
