-- For how many seconds no scheduler has looked at the clock, and how many fires are overdue by a
-- minute or more. NULL seconds: no scheduler is known.
SELECT extract(epoch FROM now() - max(ticked_at) FILTER (WHERE kind = 'scheduler'))::float AS seconds,
       (SELECT count(*) FROM (
            SELECT FROM public.agent_schedules
            WHERE is_active AND next_fire_at < now() - interval '1 minute' LIMIT 1000
        ) AS overdue) AS overdue
FROM rota.processes
