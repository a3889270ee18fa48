INSERT INTO public.audit_logs
    (user_id, run_id, agent_name, tool_name, tier, decision, outcome, arguments, arguments_hash,
     detail, called_at)
SELECT r.user_id, r.id, r.agent_name, e.tool_name, e.tier, e.decision, e.outcome, e.arguments,
       e.arguments_hash, e.detail, e.called_at
FROM ROWS FROM (jsonb_to_recordset(%(entries)s::jsonb) AS (
    run_id uuid, tool_name text, tier text, decision text, outcome text, arguments jsonb,
    arguments_hash text, detail text, called_at timestamptz)) WITH ORDINALITY AS e
    (run_id, tool_name, tier, decision, outcome, arguments, arguments_hash, detail, called_at,
     place)
JOIN public.agent_runs AS r ON r.id = e.run_id
ORDER BY e.place
