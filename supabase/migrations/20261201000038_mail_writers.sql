-- The built-in tools that write mail from a connected mailbox. `rota migrate` keeps the rows as the
-- code declares them. A tool of the operator's that is called so stays theirs.
INSERT INTO public.tools
    (name, read_only, idempotent, risk, default_tier, timeout_seconds, brings_outside_text,
     reaches_outside, built_in)
SELECT t.name, false, false, t.risk, 'user_configurable', 300, t.brings, t.reaches,
       jsonb_build_object(
           'description', '', 'read_only', false, 'idempotent', false, 'risk', t.risk,
           'default_tier', 'user_configurable', 'timeout_seconds', 300,
           'brings_outside_text', t.brings, 'reaches_outside', t.reaches)
FROM (VALUES ('send_mail', 'medium', false, true),
             ('draft_mail', 'low', false, false),
             ('reply', 'medium', true, true)) AS t (name, risk, brings, reaches)
ON CONFLICT (name) DO NOTHING;
