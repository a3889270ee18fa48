-- For a batch of schedules at once, and without a lock: no scheduler waits for a person.
SELECT p.user_id, rota.may_run_agents(p.user_id) AS may_run,
       CASE WHEN q.max_waiting_runs IS NOT NULL
            THEN q.max_waiting_runs - (
                SELECT count(*) FROM (SELECT FROM public.agent_runs AS r
                                      WHERE r.user_id = p.user_id AND r.status = 'waiting'
                                      LIMIT q.max_waiting_runs) AS waiting) END AS room
FROM (SELECT DISTINCT unnest(%(people)s::uuid[]) AS user_id) AS p
CROSS JOIN LATERAL rota.quotas_of(p.user_id) AS q
