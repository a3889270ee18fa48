-- The built-in tools that read attachments, as the code declares them. An operator's own tool of the
-- same name stays as it is.
INSERT INTO public.tools
    (name, read_only, idempotent, risk, default_tier, timeout_seconds, brings_outside_text,
     reaches_outside, built_in)
SELECT name, true, true, 'low', 'auto', 120, true, false, jsonb_build_object(
    'description', '', 'read_only', true, 'idempotent', true, 'risk', 'low',
    'default_tier', 'auto', 'timeout_seconds', 120, 'brings_outside_text', true,
    'reaches_outside', false)
FROM (VALUES ('gmail_get_attachment'), ('mail_get_attachment')) AS new (name)
ON CONFLICT (name) DO NOTHING;
