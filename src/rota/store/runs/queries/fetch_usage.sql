SELECT schedule_id, input_tokens + output_tokens AS tokens, cost_usd
FROM public.usage_days
WHERE user_id = %(user_id)s AND day = %(day)s
  AND (schedule_id IS NULL OR schedule_id = %(schedule_id)s)
