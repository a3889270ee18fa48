SELECT a.id, a.user_id, a.run_id, a.agent_name, a.tool_name, a.tool_version, a.arguments,
       a.arguments_hash, a.risk, a.reason, a.account, a.mode, a.status, a.version, a.created_at,
       a.expires_at, a.decided_at, a.decided_via, a.decision_reason, a.started_at, a.finished_at,
       a.result, a.proposed_arguments, a.argument_schema, a.escalated_at, a.decided_by,
       a.model_step, a.call_index
FROM public.pending_actions AS a
WHERE (%(statuses)s::text[] IS NULL OR a.status = ANY (%(statuses)s))
  AND (%(run_id)s::uuid IS NULL OR a.run_id = %(run_id)s OR a.id = (
        SELECT r.action_id FROM public.agent_runs AS r WHERE r.id = %(run_id)s))
  AND (%(prefix)s::text IS NULL OR a.id::text LIKE %(prefix)s::text || '%%')
  AND (%(agent_name)s::text IS NULL OR a.agent_name = %(agent_name)s)
  AND (%(tool_name)s::text IS NULL OR a.tool_name = %(tool_name)s)
  AND (%(risks)s::text[] IS NULL OR a.risk = ANY (%(risks)s))
ORDER BY a.created_at DESC, a.id
LIMIT %(limit)s
