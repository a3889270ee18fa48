UPDATE public.agent_runs AS r
SET snapshot = s.snapshot
FROM jsonb_to_recordset(%(snapshots)s::jsonb) AS s (run_id uuid, token bigint, snapshot jsonb)
WHERE r.id = s.run_id AND r.fencing_token = s.token AND r.status = 'running'
  AND r.snapshot IS NULL
