-- Agents are rows: a model, a prompt, and links to tools. Rows never name code: `tools.name` is
-- looked up in the registry of the running rota, `model_settings.endpoint` among the operator's.

CREATE TABLE public.agent_configurations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE, -- NULL: shared, the operator's
    agent_name text NOT NULL CHECK (agent_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    description text NOT NULL DEFAULT '',
    model text NOT NULL CHECK (model ~ '^[a-z0-9_]+:.+$'), -- provider:model, as init_chat_model
    model_settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(model_settings) = 'object'),
    system_prompt text NOT NULL DEFAULT '',
    script jsonb CHECK (jsonb_typeof(script) = 'object'), -- the plan of a `scripted` model
    max_steps integer NOT NULL DEFAULT 25 CHECK (max_steps BETWEEN 1 AND 1000), -- model calls
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (user_id, agent_name)
);

CREATE TABLE public.tools (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-zA-Z0-9_-]{1,64}$'),
    description text NOT NULL DEFAULT '', -- '' keeps the description that the code gives
    version integer NOT NULL DEFAULT 1,
    read_only boolean NOT NULL DEFAULT false,
    idempotent boolean NOT NULL DEFAULT false,
    risk text NOT NULL DEFAULT 'high' CHECK (risk IN ('low', 'medium', 'high')),
    default_tier text NOT NULL DEFAULT 'requires_approval'
        CHECK (default_tier IN ('auto', 'requires_approval', 'user_configurable')),
    timeout_seconds numeric NOT NULL DEFAULT 60 CHECK (timeout_seconds > 0),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.agent_tools (
    agent_id uuid NOT NULL REFERENCES public.agent_configurations (id) ON DELETE CASCADE,
    tool_id uuid NOT NULL REFERENCES public.tools (id) ON DELETE CASCADE,
    position integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, tool_id)
);
CREATE INDEX agent_tools_tool_id_idx ON public.agent_tools (tool_id);

CREATE TABLE public.user_tool_preferences (
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    tool_id uuid NOT NULL REFERENCES public.tools (id) ON DELETE CASCADE,
    preference text NOT NULL CHECK (preference IN ('auto', 'requires_approval')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, tool_id)
);
CREATE INDEX user_tool_preferences_tool_id_idx ON public.user_tool_preferences (tool_id);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.agent_configurations
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.tools
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.user_tool_preferences
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();

SELECT rota.keep_to_backend('public.agent_configurations');
SELECT rota.keep_to_backend('public.tools');
SELECT rota.keep_to_backend('public.agent_tools');
SELECT rota.keep_to_backend('public.user_tool_preferences');

-- Agents: everybody reads the shared ones; one's own are one's own.
GRANT SELECT, DELETE ON public.agent_configurations TO authenticated;
GRANT INSERT (user_id, agent_name, description, model, model_settings, system_prompt, script,
              max_steps, is_active) ON public.agent_configurations TO authenticated;
GRANT UPDATE (agent_name, description, model, model_settings, system_prompt, script,
              max_steps, is_active) ON public.agent_configurations TO authenticated;
CREATE POLICY reads_own_and_shared ON public.agent_configurations FOR SELECT TO authenticated
    USING (user_id IS NULL OR user_id = (SELECT auth.uid()));
CREATE POLICY inserts_own ON public.agent_configurations FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY updates_own ON public.agent_configurations FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY deletes_own ON public.agent_configurations FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- Tools and their declarations are the operator's.
GRANT SELECT ON public.tools TO authenticated;
CREATE POLICY reads_all ON public.tools FOR SELECT TO authenticated USING (true);

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

-- The built-in tools, all of them readers. A tool that the registry gains has its row here or in
-- an operator's own migration; without a row it needs approval.
INSERT INTO public.tools (name, read_only, idempotent, risk, default_tier, timeout_seconds) VALUES
    ('gmail_search', true, true, 'low', 'auto', 60),
    ('gmail_get_message', true, true, 'low', 'auto', 60),
    ('mail_search', true, true, 'low', 'auto', 60),
    ('mail_get_message', true, true, 'low', 'auto', 60)
ON CONFLICT (name) DO NOTHING;
