SELECT r.id FROM public.agent_runs AS r
JOIN unnest(%(run_ids)s::uuid[], %(tokens)s::bigint[]) AS g (run_id, token)
    ON r.id = g.run_id AND r.fencing_token = g.token AND r.status = 'running'
