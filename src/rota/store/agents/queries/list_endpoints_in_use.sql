SELECT model_settings->>'endpoint' AS endpoint, array_agg(DISTINCT agent_name) AS agents
FROM public.agent_configurations
WHERE is_active AND jsonb_typeof(model_settings->'endpoint') = 'string'
GROUP BY 1
ORDER BY 1
