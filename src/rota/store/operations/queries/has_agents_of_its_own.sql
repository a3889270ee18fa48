-- Whether there is an agent that no migration made: those have the time of their migration.
SELECT EXISTS (SELECT FROM public.agent_configurations AS c
               WHERE c.created_at NOT IN (SELECT m.applied_at FROM rota.schema_migrations AS m))
