WITH unpriced AS ( -- of runs whose journal is still kept
    SELECT (s.started_at AT TIME ZONE %(zone)s)::date AS day, r.schedule_id, count(*) AS calls
    FROM public.agent_run_steps AS s
    JOIN public.agent_runs AS r ON r.id = s.run_id
    WHERE s.user_id = %(user_id)s AND s.started_at > %(after)s::date - interval '1 day'
      AND s.call_index = -1 AND s.usage IS NOT NULL AND s.cost_usd IS NULL
    GROUP BY 1, 2
)
SELECT d.day, d.schedule_id, s.name AS schedule_name, d.model_calls, d.input_tokens,
       d.output_tokens, d.cost_usd,
       (SELECT coalesce(sum(u.calls), 0) FROM unpriced AS u
        WHERE u.day = d.day AND (d.schedule_id IS NULL OR u.schedule_id = d.schedule_id)
       )::bigint AS unpriced_calls,
       s.options -> 'day_limits' AS day_limits
FROM public.usage_days AS d
LEFT JOIN public.agent_schedules AS s ON s.id = d.schedule_id
WHERE d.user_id = %(user_id)s AND d.day > %(after)s AND d.day <= %(from_day)s
  AND (d.day < %(from_day)s
       OR coalesce(d.schedule_id, '00000000-0000-0000-0000-000000000000') > %(from_schedule)s)
  AND (%(schedule_id)s::uuid IS NULL OR d.schedule_id = %(schedule_id)s)
ORDER BY d.day DESC, coalesce(d.schedule_id, '00000000-0000-0000-0000-000000000000')
LIMIT %(limit)s
