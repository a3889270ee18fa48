SELECT (SELECT max_concurrency FROM rota.limits) AS max_concurrency,
       (SELECT count(*) FROM public.agent_runs AS r WHERE rota.holds_slot(r)) AS under_way
