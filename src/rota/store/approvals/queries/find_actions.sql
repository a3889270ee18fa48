-- By the beginning of an id, or by the run that asked for it or executes it.
SELECT a.id, a.user_id, a.run_id, a.agent_name, a.tool_name, a.tool_version, a.arguments,
       a.arguments_hash, a.risk, a.reason, a.account, a.mode, a.status, a.version, a.created_at,
       a.expires_at, a.decided_at, a.decided_via, a.decision_reason, a.started_at, a.finished_at,
       a.result, a.proposed_arguments, a.argument_schema, a.escalated_at, a.decided_by,
       a.model_step, a.call_index
FROM public.pending_actions AS a
WHERE (%(run_id)s::uuid IS NULL OR a.run_id = %(run_id)s OR a.id = (
        SELECT r.action_id FROM public.agent_runs AS r WHERE r.id = %(run_id)s))
  -- The first two are for the index.
  AND (%(prefix)s::text IS NULL
       OR (a.id >= rpad(replace(%(prefix)s, '-', ''), 32, '0')::uuid
           AND a.id <= rpad(replace(%(prefix)s, '-', ''), 32, 'f')::uuid
           AND starts_with(a.id::text, %(prefix)s)))
ORDER BY a.created_at DESC, a.id DESC
LIMIT %(limit)s
