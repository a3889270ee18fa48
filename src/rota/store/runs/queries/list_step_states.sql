-- The progress of a run, without the content of its calls.
SELECT model_step, call_index, status, coalesce(jsonb_array_length(attempts), 0) AS attempts
FROM public.agent_run_steps
WHERE run_id = %(run_id)s
