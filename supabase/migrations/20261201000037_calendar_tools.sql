-- The tools that read calendars. `rota migrate` keeps the rows as the code declares them; a tool of
-- this name that the operator declared stays theirs.
WITH declared (name, facts) AS (
    SELECT n, jsonb_build_object(
        'description', '', 'read_only', true, 'idempotent', true, 'risk', 'low',
        'default_tier', 'auto', 'timeout_seconds', 60, 'brings_outside_text', true,
        'reaches_outside', false)
    FROM unnest(ARRAY['calendar_agenda', 'calendar_find_time']) AS n
)
INSERT INTO public.tools
    (name, read_only, idempotent, risk, default_tier, timeout_seconds, brings_outside_text,
     reaches_outside, built_in)
SELECT name, true, true, 'low', 'auto', 60, true, false, facts
FROM declared
ON CONFLICT (name) DO NOTHING;
