-- Suspended runs without an open action. The order of locks should prevent such runs.
SELECT count(*) FILTER (WHERE rota.resume_run(r.id))
FROM (SELECT id FROM public.agent_runs WHERE status = 'suspended' FOR NO KEY UPDATE SKIP LOCKED) AS r
