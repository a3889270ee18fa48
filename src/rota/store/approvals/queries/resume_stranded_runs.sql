-- Parked runs that nothing keeps: by the order of locks there are none.
SELECT count(*) FILTER (WHERE rota.resume_run(r.id))
FROM (SELECT id FROM public.agent_runs WHERE status = 'suspended' FOR NO KEY UPDATE SKIP LOCKED) AS r
