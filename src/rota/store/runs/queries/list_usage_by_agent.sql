SELECT u.day, u.agent_name, u.runs, u.model_calls, u.input_tokens, u.output_tokens, u.cost_usd,
       u.unpriced_runs
FROM (
    SELECT (r.created_at AT TIME ZONE %(zone)s)::date AS day, r.agent_name, count(*) AS runs,
           coalesce(sum((r.metadata ->> 'model_calls')::bigint), 0)::bigint AS model_calls,
           coalesce(sum((r.metadata -> 'tokens' ->> 'input')::bigint), 0)::bigint AS input_tokens,
           coalesce(sum((r.metadata -> 'tokens' ->> 'output')::bigint), 0)::bigint AS output_tokens,
           coalesce(sum((r.metadata ->> 'cost_usd')::numeric), 0) AS cost_usd,
           count(*) FILTER (WHERE r.metadata ? 'tokens' AND NOT r.metadata ? 'cost_usd')
               AS unpriced_runs
    FROM public.agent_execution_results AS r
    WHERE r.user_id = %(user_id)s
      AND r.created_at >= (%(after)s::date + 1)::timestamp AT TIME ZONE %(zone)s
      AND (%(agent_name)s::text IS NULL OR r.agent_name = %(agent_name)s)
    GROUP BY 1, 2
) AS u
WHERE u.day <= %(from_day)s AND (u.day < %(from_day)s OR u.agent_name > %(from_agent)s)
ORDER BY u.day DESC, u.agent_name
LIMIT %(limit)s
