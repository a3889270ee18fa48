SELECT (SELECT max_concurrency FROM rota.limits) AS max_concurrency,
       (SELECT count(*) FROM public.agent_runs
        WHERE status = 'queued' OR (status = 'running' AND queued_at IS NOT NULL)) AS under_way
