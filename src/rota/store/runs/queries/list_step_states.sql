-- How far a run has come: little to read, however much its calls hold.
SELECT model_step, call_index, status, coalesce(jsonb_array_length(attempts), 0) AS attempts
FROM public.agent_run_steps
WHERE run_id = %(run_id)s
