-- What an agent was at each time: by whom it was changed and when, and what it can be restored to.

CREATE TABLE public.agent_versions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    agent_name text NOT NULL,
    version integer NOT NULL,
    change text NOT NULL CHECK (change IN ('created', 'updated', 'removed')),
    configuration jsonb NOT NULL,
    by_owner boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agent_versions_version_key UNIQUE NULLS NOT DISTINCT (user_id, agent_name, version)
);
COMMENT ON TABLE public.agent_versions IS
    'What agents were after each change: the latest 100 of an agent, and 2,000 of a person';
COMMENT ON COLUMN public.agent_versions.id IS 'Counts up';
COMMENT ON COLUMN public.agent_versions.user_id IS
    'Whose agent; NULL: a shared one. Goes with the person';
COMMENT ON COLUMN public.agent_versions.agent_name IS 'The agent, which may be gone by now';
COMMENT ON COLUMN public.agent_versions.version IS 'Counts the changes of this agent';
COMMENT ON COLUMN public.agent_versions.change IS 'created, updated, or removed';
COMMENT ON COLUMN public.agent_versions.configuration IS
    'Its columns after the change, and the names of its tools in order; before it if it was removed';
COMMENT ON COLUMN public.agent_versions.by_owner IS
    'Whether its owner changed it; else the operator, or rota';
COMMENT ON COLUMN public.agent_versions.changed_at IS 'When it was changed';
CREATE INDEX agent_versions_user_idx ON public.agent_versions (user_id, id);
CREATE INDEX agent_versions_name_idx ON public.agent_versions (agent_name, version);
CREATE INDEX agent_versions_changed_idx ON public.agent_versions (changed_at);

SELECT rota.keep_to_backend('public.agent_versions');
GRANT SELECT ON public.agent_versions TO authenticated;
CREATE POLICY reads_own_and_shared ON public.agent_versions FOR SELECT TO authenticated
    USING (user_id IS NULL OR user_id = (SELECT auth.uid()));

-- What of an agent its versions keep.
CREATE FUNCTION rota.agent_content(agent uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'description', a.description, 'model', a.model, 'model_settings', a.model_settings,
        'fallback_models', to_jsonb(a.fallback_models), 'system_prompt', a.system_prompt,
        'script', a.script, 'max_steps', a.max_steps, 'limits', a.limits,
        'max_concurrency', a.max_concurrency, 'is_active', a.is_active,
        'tools', coalesce((
            SELECT jsonb_agg(t.name ORDER BY l.position, t.name) FROM public.agent_tools AS l
            JOIN public.tools AS t ON t.id = l.tool_id
            WHERE l.agent_id = a.id AND l.is_active), '[]'))
    FROM public.agent_configurations AS a WHERE a.id = agent
$$;

-- Adds a version, unless the last one says the same; NULL for an agent that is gone.
CREATE FUNCTION rota.add_agent_version(owner uuid, agent text, content jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    latest public.agent_versions;
    what text := 'updated';
BEGIN
    IF owner IS NOT NULL AND NOT EXISTS (SELECT FROM auth.users AS u WHERE u.id = owner) THEN
        RETURN; -- the agent goes with its owner
    END IF;
    SELECT v.* INTO latest FROM public.agent_versions AS v
    WHERE (v.user_id = owner OR (owner IS NULL AND v.user_id IS NULL)) AND v.agent_name = agent
    ORDER BY v.version DESC LIMIT 1;
    IF content IS NULL THEN
        IF latest.id IS NULL OR latest.change = 'removed' THEN
            RETURN;
        END IF;
        what := 'removed';
        content := latest.configuration;
    ELSIF latest.id IS NULL OR latest.change = 'removed' THEN
        what := 'created';
    ELSIF latest.configuration = content THEN
        RETURN;
    END IF;
    INSERT INTO public.agent_versions (user_id, agent_name, version, change, configuration, by_owner)
    VALUES (owner, agent, coalesce(latest.version, 0) + 1, what, content,
            coalesce(auth.uid() = owner, false));
    DELETE FROM public.agent_versions AS v
    WHERE (v.user_id = owner OR (owner IS NULL AND v.user_id IS NULL)) AND v.agent_name = agent
      AND v.version <= coalesce(latest.version, 0) + 1 - 100;
    IF owner IS NOT NULL THEN -- whoever makes agents in a loop fills no table
        DELETE FROM public.agent_versions AS v
        WHERE v.id IN (SELECT o.id FROM public.agent_versions AS o WHERE o.user_id = owner
                       ORDER BY o.id DESC OFFSET 2000);
    END IF;
END
$$;

-- Runs when a transaction ends, so that an agent and its tools are one change.
CREATE FUNCTION rota.keep_agent_version() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    agent uuid;
    found_agent public.agent_configurations;
BEGIN
    IF TG_TABLE_NAME = 'agent_tools' THEN
        agent := CASE WHEN TG_OP = 'DELETE' THEN OLD.agent_id ELSE NEW.agent_id END;
    ELSE
        agent := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
        IF TG_OP = 'DELETE' THEN
            PERFORM rota.add_agent_version(OLD.user_id, OLD.agent_name, NULL);
        ELSIF TG_OP = 'UPDATE' AND OLD.agent_name <> NEW.agent_name THEN
            PERFORM rota.add_agent_version(OLD.user_id, OLD.agent_name, NULL);
        END IF;
    END IF;
    SELECT a.* INTO found_agent FROM public.agent_configurations AS a WHERE a.id = agent;
    IF found_agent.id IS NOT NULL THEN
        PERFORM rota.add_agent_version(
            found_agent.user_id, found_agent.agent_name, rota.agent_content(agent));
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rota.agent_content(uuid) FROM PUBLIC, anon, authenticated;
REVOKE ALL ON FUNCTION rota.add_agent_version(uuid, text, jsonb) FROM PUBLIC, anon, authenticated;
REVOKE ALL ON FUNCTION rota.keep_agent_version() FROM PUBLIC, anon, authenticated;

CREATE CONSTRAINT TRIGGER keep_agent_version AFTER INSERT OR UPDATE OR DELETE
    ON public.agent_configurations DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION rota.keep_agent_version();
CREATE CONSTRAINT TRIGGER keep_agent_version AFTER INSERT OR UPDATE OR DELETE
    ON public.agent_tools DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION rota.keep_agent_version();

INSERT INTO public.agent_versions
    (user_id, agent_name, version, change, configuration, by_owner, changed_at)
SELECT a.user_id, a.agent_name, 1, 'created', rota.agent_content(a.id), a.user_id IS NOT NULL,
       a.updated_at
FROM public.agent_configurations AS a;
