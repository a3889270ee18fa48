-- Agents are rows: a model, a prompt, and links to tools. Rows never name code: `tools.name` is
-- looked up in the registry of the running rota, `model_settings.endpoint` among the operator's.

CREATE TABLE public.agent_configurations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    agent_name text NOT NULL CHECK (agent_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    description text NOT NULL DEFAULT '',
    model text NOT NULL CHECK (model ~ '^[a-z0-9_]+:.+$'),
    model_settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(model_settings) = 'object'),
    fallback_models text[] NOT NULL DEFAULT '{}'
        CHECK (cardinality(fallback_models) <= 10 AND array_position(fallback_models, NULL) IS NULL),
    system_prompt text NOT NULL DEFAULT '',
    script jsonb CHECK (jsonb_typeof(script) = 'object'),
    max_steps integer NOT NULL DEFAULT 25 CHECK (max_steps BETWEEN 1 AND 1000),
    limits jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(limits) = 'object' AND length(limits::text) <= 2000),
    max_concurrency integer CHECK (max_concurrency >= 1),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (user_id, agent_name)
);
COMMENT ON TABLE public.agent_configurations IS
    'Agents: a model, a prompt and limits. A person''s own agent hides a shared one of the same '
    'name';
COMMENT ON COLUMN public.agent_configurations.id IS 'Identifies the agent';
COMMENT ON COLUMN public.agent_configurations.user_id IS
    'Whose agent it is; NULL: shared by all, the operator''s';
COMMENT ON COLUMN public.agent_configurations.agent_name IS
    'By which schedules and runs name it: lower-case letters, digits, - and _';
COMMENT ON COLUMN public.agent_configurations.description IS 'For people: what it is for';
COMMENT ON COLUMN public.agent_configurations.model IS
    'provider:model, as LangChain''s init_chat_model takes it; provider `scripted` needs no key';
COMMENT ON COLUMN public.agent_configurations.model_settings IS
    'Settings of the model (temperature, max_tokens, ...); `endpoint` names one of the '
    'operator''s endpoints';
COMMENT ON COLUMN public.agent_configurations.fallback_models IS
    'Models that are tried in this order when `model` fails';
COMMENT ON COLUMN public.agent_configurations.system_prompt IS
    'What the model is told before each run';
COMMENT ON COLUMN public.agent_configurations.script IS
    'The plan of a `scripted` model, the operator''s to write; NULL for any other';
COMMENT ON COLUMN public.agent_configurations.max_steps IS 'Model calls that a run may make';
COMMENT ON COLUMN public.agent_configurations.limits IS
    'Bounds of one run, as an object: seconds, steps, tokens, US dollars';
COMMENT ON COLUMN public.agent_configurations.max_concurrency IS
    'Runs of this agent that may go at a time, over all people who share it; NULL: no limit';
COMMENT ON COLUMN public.agent_configurations.is_active IS 'Whether it may run';
COMMENT ON COLUMN public.agent_configurations.created_at IS 'When the row was made';
COMMENT ON COLUMN public.agent_configurations.updated_at IS 'When the row was last changed';
CREATE INDEX agent_configurations_limited_idx ON public.agent_configurations (agent_name)
    WHERE max_concurrency IS NOT NULL;

CREATE TABLE public.tools (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-zA-Z0-9_-]{1,64}$'),
    description text NOT NULL DEFAULT '',
    version integer NOT NULL DEFAULT 1,
    read_only boolean NOT NULL DEFAULT false,
    idempotent boolean NOT NULL DEFAULT false,
    risk text NOT NULL DEFAULT 'high' CHECK (risk IN ('low', 'medium', 'high')),
    default_tier text NOT NULL DEFAULT 'requires_approval'
        CHECK (default_tier IN ('auto', 'requires_approval', 'user_configurable')),
    timeout_seconds numeric NOT NULL DEFAULT 60 CHECK (timeout_seconds > 0),
    brings_outside_text boolean NOT NULL DEFAULT true,
    reaches_outside boolean NOT NULL DEFAULT true,
    annotations jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(annotations) = 'object'),
    definition_hash text CHECK (definition_hash ~ '^[0-9a-f]{64}$'),
    built_in jsonb CHECK (jsonb_typeof(built_in) = 'object'),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.tools IS
    'Tools that agents may call, as the operator declares them. The code is found by name; a tool '
    'without a row needs approval';
COMMENT ON COLUMN public.tools.id IS 'Identifies the tool';
COMMENT ON COLUMN public.tools.name IS 'By which the registry of the running rota knows its code';
COMMENT ON COLUMN public.tools.description IS
    'What the model is told of it; empty: what its code says';
COMMENT ON COLUMN public.tools.version IS
    'Counts changes of the declaration; approval rules may hold for one version only';
COMMENT ON COLUMN public.tools.read_only IS 'Whether it changes nothing, anywhere';
COMMENT ON COLUMN public.tools.idempotent IS
    'Whether calling it twice does no more than calling it once; calls of such tools, and '
    'of those that only read, are repeated after a crash';
COMMENT ON COLUMN public.tools.risk IS 'How much harm a call can do: low, medium or high';
COMMENT ON COLUMN public.tools.default_tier IS
    'Whether a call runs (auto), waits for approval (requires_approval), or as the person prefers '
    '(user_configurable)';
COMMENT ON COLUMN public.tools.timeout_seconds IS 'Seconds that a call may take';
COMMENT ON COLUMN public.tools.brings_outside_text IS
    'Whether its results hold text that somebody else than the owner of the run may have written';
COMMENT ON COLUMN public.tools.reaches_outside IS
    'Whether the model chooses where data goes; a fixed account or server does not count';
COMMENT ON COLUMN public.tools.annotations IS
    'What the tool says of itself (readOnlyHint, ...); this only makes the gate stricter';
COMMENT ON COLUMN public.tools.definition_hash IS
    'SHA-256, in hex, of name, description, schema and annotations as they were declared; NULL: '
    'not pinned';
COMMENT ON COLUMN public.tools.built_in IS
    'What rota declared of a tool of its own when the row was last refreshed; NULL for the '
    'operator''s tools. A column that differs from it was changed by the operator, and stays so';
COMMENT ON COLUMN public.tools.is_active IS 'Whether agents may call it';
COMMENT ON COLUMN public.tools.created_at IS 'When the row was made';
COMMENT ON COLUMN public.tools.updated_at IS 'When the row was last changed';

CREATE TABLE public.agent_tools (
    agent_id uuid NOT NULL REFERENCES public.agent_configurations (id) ON DELETE CASCADE,
    tool_id uuid NOT NULL REFERENCES public.tools (id) ON DELETE CASCADE,
    position integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, tool_id)
);
COMMENT ON TABLE public.agent_tools IS 'Which agent may call which tool';
COMMENT ON COLUMN public.agent_tools.agent_id IS 'The agent';
COMMENT ON COLUMN public.agent_tools.tool_id IS 'The tool';
COMMENT ON COLUMN public.agent_tools.position IS 'Order in which the model is told of the tools';
COMMENT ON COLUMN public.agent_tools.is_active IS 'Whether the link counts';
COMMENT ON COLUMN public.agent_tools.created_at IS 'When the row was made';
CREATE INDEX agent_tools_tool_id_idx ON public.agent_tools (tool_id);

CREATE TABLE public.user_tool_preferences (
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    tool_id uuid NOT NULL REFERENCES public.tools (id) ON DELETE CASCADE,
    preference text NOT NULL CHECK (preference IN ('auto', 'requires_approval')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, tool_id)
);
COMMENT ON TABLE public.user_tool_preferences IS
    'What a person prefers of tools whose tier is user_configurable';
COMMENT ON COLUMN public.user_tool_preferences.user_id IS 'Whose preference it is';
COMMENT ON COLUMN public.user_tool_preferences.tool_id IS 'The tool';
COMMENT ON COLUMN public.user_tool_preferences.preference IS
    'auto: calls run. requires_approval: they wait';
COMMENT ON COLUMN public.user_tool_preferences.created_at IS 'When the row was made';
COMMENT ON COLUMN public.user_tool_preferences.updated_at IS 'When the row was last changed';
CREATE INDEX user_tool_preferences_tool_id_idx ON public.user_tool_preferences (tool_id);

CREATE TABLE public.model_prices (
    model text PRIMARY KEY
        CHECK (model = '*' OR (model ~ '^[a-z][a-z0-9_]*:\S(.*\S)?$' AND length(model) <= 300)),
    -- BETWEEN also keeps NaN out, which is greater than any number.
    input_usd numeric NOT NULL CHECK (input_usd BETWEEN 0 AND 1000000),
    output_usd numeric NOT NULL CHECK (output_usd BETWEEN 0 AND 1000000),
    cached_input_usd numeric CHECK (cached_input_usd BETWEEN 0 AND 1000000),
    cache_write_usd numeric CHECK (cache_write_usd BETWEEN 0 AND 1000000),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.model_prices IS
    'What models cost, where the operator knows better than the table that rota comes with. US '
    'dollars per million tokens';
COMMENT ON COLUMN public.model_prices.model IS
    'provider:model, provider:* for any of a provider, or * for any model';
COMMENT ON COLUMN public.model_prices.input_usd IS 'US dollars per million input tokens';
COMMENT ON COLUMN public.model_prices.output_usd IS 'US dollars per million output tokens';
COMMENT ON COLUMN public.model_prices.cached_input_usd IS
    'US dollars per million input tokens read from a cache; NULL: as input';
COMMENT ON COLUMN public.model_prices.cache_write_usd IS
    'US dollars per million input tokens written to a cache; NULL: as input';
COMMENT ON COLUMN public.model_prices.updated_at IS 'When the row was last changed';

CREATE TABLE public.connections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    service text NOT NULL CHECK (service ~ '^[a-z][a-z0-9_]{0,30}$'),
    account text NOT NULL DEFAULT '',
    secret bytea NOT NULL,
    key_id text NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, service)
);
COMMENT ON TABLE public.connections IS
    'Accounts of people with other services, with their encrypted secrets';
COMMENT ON COLUMN public.connections.id IS 'Identifies the connection';
COMMENT ON COLUMN public.connections.user_id IS 'Whose account it is';
COMMENT ON COLUMN public.connections.service IS 'gmail, ...';
COMMENT ON COLUMN public.connections.account IS 'Shown to the person: an address, never a secret';
COMMENT ON COLUMN public.connections.secret IS
    'AES-256-GCM: 12 bytes of nonce, then ciphertext and tag';
COMMENT ON COLUMN public.connections.key_id IS 'Which key encrypted it';
COMMENT ON COLUMN public.connections.scopes IS 'What the service lets rota do';
COMMENT ON COLUMN public.connections.expires_at IS
    'When the secret stops being valid; NULL: it does not say';
COMMENT ON COLUMN public.connections.is_active IS 'Whether tools may use it';
COMMENT ON COLUMN public.connections.created_at IS 'When the row was made';
COMMENT ON COLUMN public.connections.updated_at IS 'When the row was last changed';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.agent_configurations
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.tools
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.user_tool_preferences
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.model_prices
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.connections
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
-- A limit that was raised lets waiting runs in.
CREATE TRIGGER announce_limits AFTER UPDATE ON public.agent_configurations
    FOR EACH ROW
    WHEN (OLD.max_concurrency IS DISTINCT FROM NEW.max_concurrency
          OR OLD.is_active IS DISTINCT FROM NEW.is_active)
    EXECUTE FUNCTION rota.announce('runs');

-- Scripts hold templates, which rota renders: they are the operator's to write. People keep the right
-- to write all else of their agents, and to take a script away. A person is the operator where rota says
-- so, in a claim that no token of theirs bears.
CREATE FUNCTION rota.keep_scripts_to_operator() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_user IN ('anon', 'authenticated') AND coalesce(
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'rota_operator', ''
    ) <> 'true' THEN
        RAISE EXCEPTION 'scripts are written by the operator of rota'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_scripts_to_operator_insert BEFORE INSERT ON public.agent_configurations
    FOR EACH ROW WHEN (NEW.script IS NOT NULL)
    EXECUTE FUNCTION rota.keep_scripts_to_operator();
CREATE TRIGGER keep_scripts_to_operator_update BEFORE UPDATE ON public.agent_configurations
    FOR EACH ROW WHEN (NEW.script IS NOT NULL AND NEW.script IS DISTINCT FROM OLD.script)
    EXECUTE FUNCTION rota.keep_scripts_to_operator();

SELECT rota.keep_to_backend('public.agent_configurations');
SELECT rota.keep_to_backend('public.tools');
SELECT rota.keep_to_backend('public.agent_tools');
SELECT rota.keep_to_backend('public.user_tool_preferences');
SELECT rota.keep_to_backend('public.model_prices');
SELECT rota.keep_to_backend('public.connections');

-- Agents: everybody reads the shared ones; one's own are one's own.
GRANT SELECT, DELETE ON public.agent_configurations TO authenticated;
GRANT INSERT (user_id, agent_name, description, model, model_settings, fallback_models,
              system_prompt, script, max_steps, limits, max_concurrency, is_active)
    ON public.agent_configurations TO authenticated;
GRANT UPDATE (agent_name, description, model, model_settings, fallback_models, system_prompt,
              script, max_steps, limits, max_concurrency, is_active)
    ON public.agent_configurations TO authenticated;
CREATE POLICY reads_own_and_shared ON public.agent_configurations FOR SELECT TO authenticated
    USING (user_id IS NULL OR user_id = (SELECT auth.uid()));
CREATE POLICY inserts_own ON public.agent_configurations FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY updates_own ON public.agent_configurations FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY deletes_own ON public.agent_configurations FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- Tools with their declarations, and prices, are the operator's.
GRANT SELECT ON public.tools TO authenticated;
CREATE POLICY reads_all ON public.tools FOR SELECT TO authenticated USING (true);
GRANT SELECT ON public.model_prices TO authenticated;
CREATE POLICY reads_all ON public.model_prices FOR SELECT TO authenticated USING (true);

GRANT SELECT, DELETE ON public.agent_tools TO authenticated;
GRANT INSERT (agent_id, tool_id, position, is_active) ON public.agent_tools TO authenticated;
GRANT UPDATE (position, is_active) ON public.agent_tools TO authenticated;
CREATE POLICY reads_of_visible_agents ON public.agent_tools FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM public.agent_configurations AS a
                   WHERE a.id = agent_id AND (a.user_id IS NULL OR a.user_id = (SELECT auth.uid()))));
CREATE POLICY inserts_for_own_agents ON public.agent_tools FOR INSERT TO authenticated
    WITH CHECK (EXISTS (SELECT FROM public.agent_configurations AS a
                        WHERE a.id = agent_id AND a.user_id = (SELECT auth.uid())));
CREATE POLICY updates_of_own_agents ON public.agent_tools FOR UPDATE TO authenticated
    USING (EXISTS (SELECT FROM public.agent_configurations AS a
                   WHERE a.id = agent_id AND a.user_id = (SELECT auth.uid())))
    WITH CHECK (EXISTS (SELECT FROM public.agent_configurations AS a
                        WHERE a.id = agent_id AND a.user_id = (SELECT auth.uid())));
CREATE POLICY deletes_of_own_agents ON public.agent_tools FOR DELETE TO authenticated
    USING (EXISTS (SELECT FROM public.agent_configurations AS a
                   WHERE a.id = agent_id AND a.user_id = (SELECT auth.uid())));

GRANT SELECT, DELETE ON public.user_tool_preferences TO authenticated;
GRANT INSERT (user_id, tool_id, preference) ON public.user_tool_preferences TO authenticated;
GRANT UPDATE (preference) ON public.user_tool_preferences TO authenticated;
CREATE POLICY owns ON public.user_tool_preferences FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- Everything of a connection but its secret. It is made by the backend, which encrypts.
GRANT SELECT (id, user_id, service, account, scopes, expires_at, is_active, created_at, updated_at)
    ON public.connections TO authenticated;
GRANT DELETE ON public.connections TO authenticated;
CREATE POLICY reads_own ON public.connections FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY deletes_own ON public.connections FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- The built-in tools, all of them readers of an account that the operator chose. SPEC-003's migration
-- links those of Gmail, also where only Supabase's CLI runs these files; `rota migrate` keeps the rows
-- as the code declares them.
INSERT INTO public.tools
    (name, read_only, idempotent, risk, default_tier, timeout_seconds, brings_outside_text,
     reaches_outside)
VALUES
    ('gmail_search', true, true, 'low', 'auto', 60, true, false),
    ('gmail_get_message', true, true, 'low', 'auto', 60, true, false),
    ('mail_search', true, true, 'low', 'auto', 60, true, false),
    ('mail_get_message', true, true, 'low', 'auto', 60, true, false)
ON CONFLICT (name) DO NOTHING;
UPDATE public.tools AS t
SET built_in = jsonb_build_object(
    'description', t.description, 'read_only', t.read_only, 'idempotent', t.idempotent,
    'risk', t.risk, 'default_tier', t.default_tier, 'timeout_seconds', t.timeout_seconds,
    'brings_outside_text', t.brings_outside_text, 'reaches_outside', t.reaches_outside)
WHERE t.name IN ('gmail_search', 'gmail_get_message', 'mail_search', 'mail_get_message');

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
