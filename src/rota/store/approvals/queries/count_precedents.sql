-- How the transaction's person decided on what this agent asked of this tool, since then.
SELECT count(*) FILTER (WHERE a.status <> 'refused') AS approved,
       count(*) FILTER (WHERE a.status = 'refused') AS refused
FROM public.pending_actions AS a
WHERE a.user_id = %(user_id)s AND a.agent_name = %(agent_name)s AND a.tool_name = %(tool_name)s
  AND a.decided_by IS NOT NULL AND a.decided_at >= %(since)s
