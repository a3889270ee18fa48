SELECT d.day, d.schedule_id, s.name AS schedule_name, d.model_calls, d.input_tokens,
       d.output_tokens, d.cost_usd, s.options -> 'day_limits' AS day_limits
FROM public.usage_days AS d
LEFT JOIN public.agent_schedules AS s ON s.id = d.schedule_id
WHERE d.user_id = %(user_id)s AND d.day > %(after)s
ORDER BY d.day DESC, d.schedule_id IS NOT NULL, d.cost_usd DESC,
         d.input_tokens + d.output_tokens DESC, s.name, d.schedule_id
