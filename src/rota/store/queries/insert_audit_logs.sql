INSERT INTO public.audit_logs
    (user_id, run_id, agent_name, tool_name, tier, decision, outcome, arguments, arguments_hash,
     detail, called_at)
SELECT %(user_id)s, %(run_id)s, %(agent_name)s, e.*
FROM unnest(
    %(tool_name)s::text[], %(tier)s::text[], %(decision)s::text[], %(outcome)s::text[],
    %(arguments)s::jsonb[], %(arguments_hash)s::text[], %(detail)s::text[],
    %(called_at)s::timestamptz[]
) AS e
