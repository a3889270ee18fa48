-- What a scheduler has to look forward to, in one look. Whether a run that waits can be admitted is
-- for admission to find out.
SELECT (SELECT min(next_fire_at) FROM public.agent_schedules
        WHERE is_active AND next_fire_at IS NOT NULL) AS next_fire_at,
       EXISTS (SELECT FROM public.agent_schedules
               WHERE is_active AND next_fire_at IS NULL AND completed_at IS NULL) AS unplanned,
       EXISTS (SELECT FROM public.agent_schedules
               WHERE is_active AND planned_at > %(planned_after)s) AS planned_ahead,
       EXISTS (SELECT FROM public.agent_runs
               WHERE status = 'waiting' AND (not_before IS NULL OR not_before <= now()))
           AS runs_waiting,
       (SELECT extract(epoch FROM min(not_before) - now())::float FROM public.agent_runs
        WHERE status = 'waiting' AND not_before > now()) AS next_run_in,
       EXISTS (SELECT FROM public.incidents
               WHERE kind = 'missed_fires' AND closed_at IS NULL) AS incident
