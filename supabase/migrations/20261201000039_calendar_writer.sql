-- The tool that writes into a connected calendar. `rota migrate` keeps the row as the code declares
-- it. A tool of the operator's that is called so stays theirs.
INSERT INTO public.tools
    (name, read_only, idempotent, risk, default_tier, timeout_seconds, brings_outside_text,
     reaches_outside, built_in)
SELECT 'calendar_create_event', false, true, 'medium', 'user_configurable', 60, false, true,
       jsonb_build_object(
           'description', '', 'read_only', false, 'idempotent', true, 'risk', 'medium',
           'default_tier', 'user_configurable', 'timeout_seconds', 60,
           'brings_outside_text', false, 'reaches_outside', true)
ON CONFLICT (name) DO NOTHING;
