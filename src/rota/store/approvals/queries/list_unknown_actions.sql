-- Actions of unknown outcome, the latest first; with what only the backend reads.
SELECT a.id, a.user_id, a.run_id, a.agent_name, a.tool_name, a.tool_version, a.arguments,
       a.arguments_hash, a.risk, a.reason, a.account, a.mode, a.status, a.version, a.created_at,
       a.expires_at, a.decided_at, a.decided_via, a.decision_reason, a.started_at, a.finished_at,
       a.result, a.proposed_arguments, a.argument_schema, a.escalated_at, a.decided_by,
       a.model_step, a.call_index,
       a.sealed_arguments, a.executing_token, a.definition_hash, false AS is_stale
FROM public.pending_actions AS a
WHERE a.status = 'unknown' AND a.tool_name = ANY (%(tool_names)s)
  AND a.finished_at > now() - %(within)s
ORDER BY a.finished_at DESC
LIMIT %(limit)s
