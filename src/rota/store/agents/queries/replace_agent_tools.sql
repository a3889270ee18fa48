WITH wanted AS (
    SELECT t.id, w.position::integer AS position
    FROM unnest(%(names)s::text[]) WITH ORDINALITY AS w (name, position)
    JOIN public.tools AS t ON t.name = w.name
), removed AS (
    DELETE FROM public.agent_tools
    WHERE agent_id = %(agent_id)s AND tool_id NOT IN (SELECT id FROM wanted)
)
INSERT INTO public.agent_tools (agent_id, tool_id, position, is_active)
SELECT %(agent_id)s, id, position, true FROM wanted
ON CONFLICT (agent_id, tool_id) DO UPDATE SET position = excluded.position, is_active = true
