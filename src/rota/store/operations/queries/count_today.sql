-- Counts of a person's runs and fire times since an instant, and the usage of one day.
SELECT count(*) FILTER (WHERE status = 'success')::integer AS succeeded,
       count(*) FILTER (WHERE status = 'partial' AND NOT metadata ? 'cancelled')::integer AS partial,
       count(*) FILTER (WHERE status = 'error' AND NOT metadata ? 'cancelled')::integer AS failed,
       count(*) FILTER (WHERE status <> 'success' AND metadata ? 'cancelled')::integer AS cancelled,
       (SELECT coalesce(sum(coalesce(fire_count, 1)) FILTER (WHERE outcome = 'skipped'), 0)::integer
        FROM public.schedule_occurrences
        WHERE user_id = %(user_id)s AND fire_time >= %(since)s) AS skipped_fires,
       (SELECT coalesce(sum(coalesce(fire_count, 1)) FILTER (WHERE outcome = 'missed'), 0)::integer
        FROM public.schedule_occurrences
        WHERE user_id = %(user_id)s AND fire_time >= %(since)s) AS missed_fires,
       coalesce((SELECT input_tokens + output_tokens FROM public.usage_days
                 WHERE user_id = %(user_id)s AND day = %(day)s AND schedule_id IS NULL), 0) AS tokens,
       coalesce((SELECT cost_usd FROM public.usage_days
                 WHERE user_id = %(user_id)s AND day = %(day)s AND schedule_id IS NULL), 0) AS cost_usd
FROM public.agent_execution_results
WHERE user_id = %(user_id)s AND created_at >= %(since)s
