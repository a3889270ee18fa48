SELECT count(*) AS model_calls,
       coalesce(sum(jsonb_array_length(coalesce(attempts, '[]'))), 0)::bigint AS failed_model_calls,
       coalesce(sum((usage ->> 'input_tokens')::bigint), 0)::bigint AS input_tokens,
       coalesce(sum((usage ->> 'output_tokens')::bigint), 0)::bigint AS output_tokens,
       CASE WHEN bool_or(usage IS NOT NULL AND cost_usd IS NULL) THEN NULL
            ELSE coalesce(sum(cost_usd) FILTER (WHERE usage IS NOT NULL), 0) END AS cost_usd
FROM public.agent_run_steps
WHERE run_id = %(run_id)s AND kind = 'model'
