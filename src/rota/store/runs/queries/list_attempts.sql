SELECT a.attempt,
       min(s.started_at) AS first_call_at,
       max(coalesce(s.finished_at, s.started_at)) AS last_call_at,
       count(*) FILTER (WHERE s.kind = 'model') AS model_calls,
       coalesce(sum(jsonb_array_length(coalesce(s.attempts, '[]')))
                FILTER (WHERE s.kind = 'model'), 0)::bigint AS failed_model_calls,
       count(*) FILTER (WHERE s.kind = 'tool') AS tool_calls,
       coalesce(sum((s.usage ->> 'input_tokens')::bigint), 0)::bigint AS input_tokens,
       coalesce(sum((s.usage ->> 'output_tokens')::bigint), 0)::bigint AS output_tokens,
       CASE WHEN bool_or(s.usage IS NOT NULL AND s.cost_usd IS NULL) THEN NULL
            ELSE coalesce(sum(s.cost_usd), 0) END AS cost_usd
FROM public.agent_runs AS n
CROSS JOIN LATERAL generate_series(%(after)s::integer + 1, n.attempt) AS a (attempt)
LEFT JOIN public.agent_run_steps AS s ON s.run_id = n.id AND s.attempt = a.attempt
WHERE n.id = %(run_id)s
GROUP BY a.attempt
ORDER BY a.attempt
LIMIT %(limit)s
