SELECT name, description, version, read_only, idempotent, risk, default_tier,
       timeout_seconds::double precision AS timeout_seconds, is_active,
       brings_outside_text, reaches_outside, annotations, definition_hash
FROM public.tools
WHERE %(name)s::text IS NULL OR name = %(name)s
ORDER BY name
