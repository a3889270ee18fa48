SELECT a.id, a.user_id, a.run_id::text, a.action_id::text, a.agent_name, a.tool_name, a.tier,
       a.decision, a.outcome, a.arguments::text, a.arguments_hash, a.detail, a.actor, a.origin,
       to_jsonb(a.called_at AT TIME ZONE 'UTC') #>> '{}' AS called_at,
       to_jsonb(a.created_at AT TIME ZONE 'UTC') #>> '{}' AS created_at,
       a.written_in::text, a.entry_key::text
FROM public.audit_logs AS a
WHERE a.id = ANY (%(ids)s)
ORDER BY a.written_in, a.id
