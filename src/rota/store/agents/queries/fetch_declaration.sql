SELECT t.id, t.name, t.description, t.version, t.read_only, t.idempotent, t.risk, t.default_tier,
       t.timeout_seconds, t.reaches_outside, t.brings_outside_text, p.preference, t.annotations,
       t.definition_hash
FROM public.tools AS t
LEFT JOIN public.user_tool_preferences AS p ON p.tool_id = t.id AND p.user_id = %(user_id)s::uuid
WHERE (%(name)s::text IS NULL OR t.name = %(name)s) AND t.is_active
ORDER BY t.name
