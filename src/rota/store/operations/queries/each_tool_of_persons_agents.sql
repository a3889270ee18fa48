SELECT json_build_object('agent_name', c.agent_name, 'tool_name', t.name, 'position', x.position)::text
FROM public.agent_configurations AS c
JOIN public.agent_tools AS x ON x.agent_id = c.id
JOIN public.tools AS t ON t.id = x.tool_id
WHERE c.user_id = %(user_id)s
ORDER BY c.agent_name, x.position
