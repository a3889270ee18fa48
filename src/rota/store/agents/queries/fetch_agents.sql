-- The agents that a person can run, of one name or all. The person's own active agent comes before
-- a shared one of the same name.
SELECT w.user_id AS wanted_by, a.*
FROM (
    SELECT c.agent_name, %(user_id)s::uuid FROM public.agent_configurations AS c
    WHERE %(user_id)s IS NOT NULL AND (c.user_id = %(user_id)s OR c.user_id IS NULL)
      AND (%(agent_name)s::text IS NULL OR c.agent_name = %(agent_name)s)
    UNION
    SELECT r.agent_name, r.user_id FROM public.agent_runs AS r WHERE r.id = ANY (%(run_ids)s)
) AS w (agent_name, user_id)
CROSS JOIN LATERAL (
    SELECT a.id, a.user_id, a.agent_name, a.description, a.model, a.model_settings,
           a.system_prompt, a.script, a.max_steps, a.fallback_models, a.limits,
           a.max_concurrency,
           coalesce(linked.tools, '[]'::jsonb) AS tools
    FROM public.agent_configurations AS a
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(
            jsonb_build_object(
                'id', t.id, 'name', t.name, 'description', t.description, 'version', t.version,
                'read_only', t.read_only, 'idempotent', t.idempotent, 'risk', t.risk,
                'default_tier', t.default_tier, 'timeout_seconds', t.timeout_seconds,
                'reaches_outside', t.reaches_outside,
                'brings_outside_text', t.brings_outside_text,
                'preference', p.preference, 'annotations', t.annotations,
                'definition_hash', t.definition_hash
            ) ORDER BY l.position, t.name
        ) AS tools
        FROM public.agent_tools AS l
        JOIN public.tools AS t ON t.id = l.tool_id AND t.is_active
        LEFT JOIN public.user_tool_preferences AS p
            ON p.tool_id = t.id AND p.user_id = w.user_id
        WHERE l.agent_id = a.id AND l.is_active
    ) AS linked ON true
    WHERE a.agent_name = w.agent_name
      AND a.is_active
      AND (a.user_id = w.user_id OR a.user_id IS NULL)
    ORDER BY a.user_id NULLS LAST
    LIMIT 1
) AS a
ORDER BY a.agent_name
