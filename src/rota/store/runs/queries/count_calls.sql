SELECT name, count(*) AS calls
FROM public.agent_run_steps
WHERE run_id = %(run_id)s AND kind = 'tool' AND status = 'finished'
GROUP BY name
ORDER BY min(model_step), min(call_index)
