-- By its id, or by its place in the run that asked for it; with what only the backend reads.
SELECT a.id, a.user_id, a.run_id, a.agent_name, a.tool_name, a.tool_version, a.arguments,
       a.arguments_hash, a.risk, a.reason, a.account, a.mode, a.status, a.version, a.created_at,
       a.expires_at, a.decided_at, a.decided_via, a.decision_reason, a.started_at, a.finished_at,
       a.result, a.proposed_arguments, a.argument_schema, a.escalated_at, a.decided_by,
       a.model_step, a.call_index,
       a.sealed_arguments, a.executing_token, a.definition_hash,
       (a.status = 'approved' AND a.decided_at < now() - %(lasts)s) IS TRUE AS is_stale
FROM public.pending_actions AS a
WHERE a.id = %(action_id)s
   OR (%(action_id)s::uuid IS NULL AND a.run_id = %(run_id)s
       AND a.model_step = %(model_step)s AND a.call_index = %(call_index)s)
FOR NO KEY UPDATE
