SELECT model_step, call_index, kind, name, status, tool_call_id, request, response, usage,
       cost_usd, attempts, error, started_at, finished_at
FROM public.agent_run_steps
WHERE run_id = %(run_id)s AND (model_step, call_index) > (%(model_step)s, %(call_index)s)
ORDER BY model_step, call_index
LIMIT %(limit)s
