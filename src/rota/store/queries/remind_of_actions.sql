UPDATE public.pending_actions AS a SET remind_at = NULL
WHERE a.status = 'pending' AND a.remind_at <= now()
RETURNING a.id, a.user_id, a.agent_name, a.tool_name, a.status, a.run_id
