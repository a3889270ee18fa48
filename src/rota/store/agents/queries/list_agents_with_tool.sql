SELECT DISTINCT a.agent_name
FROM public.agent_configurations AS a
JOIN public.agent_tools AS l ON l.agent_id = a.id
JOIN public.tools AS t ON t.id = l.tool_id
WHERE t.name = %(name)s
ORDER BY a.agent_name
