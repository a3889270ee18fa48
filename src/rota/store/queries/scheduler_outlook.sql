-- What a scheduler has to look forward to, in one look.
SELECT (SELECT min(next_fire_at) FROM public.agent_schedules
        WHERE is_active AND next_fire_at IS NOT NULL) AS next_fire_at,
       EXISTS (SELECT FROM public.agent_schedules
               WHERE is_active AND next_fire_at IS NULL AND completed_at IS NULL) AS unplanned,
       EXISTS (SELECT FROM rota.runs_to_admit) AS runs_waiting,
       EXISTS (SELECT FROM public.incidents
               WHERE kind = 'missed_fires' AND closed_at IS NULL) AS incident
