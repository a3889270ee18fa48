SELECT a.id, a.user_id, a.run_id::text, a.action_id::text, a.agent_name, a.tool_name, a.tier,
       a.decision, a.outcome, a.arguments::text, a.arguments_hash, a.detail, a.actor, a.origin,
       to_jsonb(a.called_at AT TIME ZONE 'UTC') #>> '{}' AS called_at,
       to_jsonb(a.created_at AT TIME ZONE 'UTC') #>> '{}' AS created_at,
       a.written_in::text, a.entry_key::text
FROM public.audit_logs AS a
WHERE (%(run)s::text IS NULL OR starts_with(a.run_id::text, %(run)s))
  -- What was held names its request in words where it is from before entries named it.
  AND (%(action)s::text IS NULL OR starts_with(a.action_id::text, %(action)s)
       OR (a.action_id IS NULL AND a.decision = 'held'
           AND starts_with(a.detail, 'pending action ' || %(action)s)))
  AND (%(tool)s::text IS NULL OR a.tool_name = %(tool)s)
  AND (%(since)s::timestamptz IS NULL OR a.called_at >= %(since)s)
  AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
ORDER BY a.id DESC
LIMIT %(limit)s
