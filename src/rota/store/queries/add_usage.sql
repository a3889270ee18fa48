-- Adds to the day in all and to that of the schedule; returns what each comes to.
INSERT INTO public.usage_days AS d
    (user_id, day, schedule_id, model_calls, input_tokens, output_tokens, cost_usd)
SELECT u.user_id, u.day, u.schedule_id, sum(u.model_calls), sum(u.input_tokens),
       sum(u.output_tokens), sum(u.cost_usd)
FROM (
    SELECT g.user_id, g.day, s.schedule_id, g.model_calls, g.input_tokens, g.output_tokens,
           g.cost_usd
    FROM jsonb_to_recordset(%(usage)s::jsonb) AS g (
        user_id uuid, day date, schedule_id uuid, model_calls bigint, input_tokens bigint,
        output_tokens bigint, cost_usd numeric)
    CROSS JOIN LATERAL (
        SELECT NULL::uuid AS schedule_id
        UNION ALL SELECT g.schedule_id WHERE g.schedule_id IS NOT NULL
    ) AS s
) AS u
GROUP BY u.user_id, u.day, u.schedule_id
ORDER BY u.user_id, u.day, u.schedule_id NULLS FIRST
ON CONFLICT (user_id, day, schedule_id) DO UPDATE
SET model_calls = d.model_calls + excluded.model_calls,
    input_tokens = d.input_tokens + excluded.input_tokens,
    output_tokens = d.output_tokens + excluded.output_tokens,
    cost_usd = d.cost_usd + excluded.cost_usd
RETURNING d.user_id, d.day, d.schedule_id, d.input_tokens + d.output_tokens, d.cost_usd
