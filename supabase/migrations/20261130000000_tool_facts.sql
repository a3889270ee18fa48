-- Two more facts of a tool, and what rota itself declares of its own ones.

ALTER TABLE public.tools
    ADD COLUMN brings_outside_text boolean NOT NULL DEFAULT true,
    ADD COLUMN reaches_outside boolean NOT NULL DEFAULT true,
    ADD COLUMN built_in jsonb CHECK (jsonb_typeof(built_in) = 'object');

COMMENT ON COLUMN public.tools.brings_outside_text IS
    'Whether its results hold text that somebody else than the owner of the run may have written';
COMMENT ON COLUMN public.tools.reaches_outside IS
    'Whether the model chooses where data goes; a fixed account or server does not count';
COMMENT ON COLUMN public.tools.built_in IS
    'What rota declared of a tool of its own when the row was last refreshed; NULL for the '
    'operator''s tools. A column that differs from it was changed by the operator, and stays so';

UPDATE public.tools AS t
SET reaches_outside = false,
    built_in = jsonb_build_object(
        'description', t.description, 'read_only', t.read_only, 'idempotent', t.idempotent,
        'risk', t.risk, 'default_tier', t.default_tier, 'timeout_seconds', t.timeout_seconds,
        'brings_outside_text', t.brings_outside_text, 'reaches_outside', false)
WHERE t.name IN ('gmail_search', 'gmail_get_message', 'mail_search', 'mail_get_message');
