-- The tools and callables that runs of active agents need, whosesoever, with the names of the agents.
SELECT kind, name, array_agg(DISTINCT agent_name ORDER BY agent_name) AS agents
FROM (
    SELECT 'tool' AS kind, t.name, a.agent_name
    FROM public.agent_configurations AS a
    JOIN public.agent_tools AS l ON l.agent_id = a.id AND l.is_active
    JOIN public.tools AS t ON t.id = l.tool_id AND t.is_active
    WHERE a.is_active
    UNION ALL
    SELECT 'callable', substr(model, length('callable:') + 1), agent_name
    FROM public.agent_configurations
    WHERE is_active AND starts_with(model, 'callable:')
    UNION ALL
    SELECT 'callable', options #>> '{precheck,callable}', agent_name
    FROM public.agent_schedules
    WHERE is_active AND jsonb_typeof(options #> '{precheck,callable}') = 'string'
) AS needed
GROUP BY kind, name
ORDER BY kind DESC, name
