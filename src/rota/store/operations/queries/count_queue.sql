-- Runs of everybody that are not over; `lag`: seconds that the oldest that may begin has waited.
SELECT count(*) FILTER (WHERE r.status = 'waiting')::integer AS waiting,
       count(*) FILTER (WHERE r.status = 'queued')::integer AS queued,
       count(*) FILTER (WHERE r.status = 'running')::integer AS running,
       count(*) FILTER (WHERE r.status = 'suspended')::integer AS suspended,
       max(extract(epoch FROM now() - greatest(r.created_at, r.not_before))) FILTER (
           WHERE r.status IN ('waiting', 'queued')
             AND (r.not_before IS NULL OR r.not_before <= now()))::float AS lag
FROM public.agent_runs AS r
WHERE r.status IN ('waiting', 'queued', 'running', 'suspended')
