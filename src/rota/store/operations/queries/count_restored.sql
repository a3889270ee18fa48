SELECT (SELECT count(*) FROM public.agent_runs
        WHERE status IN ('waiting', 'queued', 'running')) AS under_way,
       (SELECT count(*) FROM public.agent_schedules
        WHERE is_active AND next_fire_at <= now()) AS due,
       (SELECT count(*) FROM public.pending_actions WHERE status = 'pending') AS to_decide
