UPDATE public.agent_execution_results
SET metadata = metadata || jsonb_build_object('notification_error', %(error)s::text)
WHERE id = %(result_id)s
