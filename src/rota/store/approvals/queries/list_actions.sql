-- A page, newest first: what is the person's of the transaction, and what was passed on to them.
-- Each of these people, and each status, is a list of its own in an index.
SELECT a.*
FROM (SELECT auth.uid() AS id
      UNION
      SELECT d.user_id FROM public.approval_deputies AS d WHERE d.deputy_id = auth.uid()) AS person
CROSS JOIN unnest(%(statuses)s::text[]) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT p.id, p.user_id, p.run_id, p.agent_name, p.tool_name, p.tool_version, p.arguments,
           p.arguments_hash, p.risk, p.reason, p.account, p.mode, p.status, p.version, p.created_at,
           p.expires_at, p.decided_at, p.decided_via, p.decision_reason, p.started_at, p.finished_at,
           p.result, p.proposed_arguments, p.argument_schema, p.escalated_at, p.decided_by,
           p.model_step, p.call_index
    FROM public.pending_actions AS p
    WHERE p.user_id = person.id AND p.status = wanted.status
      AND (%(after_at)s::timestamptz IS NULL
           OR (p.created_at, p.id) < (%(after_at)s::timestamptz, %(after_id)s::uuid))
      AND (%(agent_name)s::text IS NULL OR p.agent_name = %(agent_name)s)
      AND (%(tool_name)s::text IS NULL OR p.tool_name = %(tool_name)s)
      AND (%(risks)s::text[] IS NULL OR p.risk = ANY (%(risks)s))
    ORDER BY p.created_at DESC, p.id DESC
    LIMIT %(limit)s
) AS a
ORDER BY a.created_at DESC, a.id DESC
LIMIT %(limit)s
