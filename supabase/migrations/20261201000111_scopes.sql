-- Scopes of API tokens hold in the database too. A transaction of a request with a token has them in its
-- claims, `rota_scopes`; nobody else has that claim, and may do what their role and the policies allow.
-- Checked is what a statement does itself. What follows from it in a trigger was allowed with it: a
-- schedule that is deleted cancels its runs.

CREATE FUNCTION rota.may(scope text) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'rota_scopes') ? scope,
        true);
REVOKE ALL ON FUNCTION rota.may(text) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.may(text) TO authenticated, service_role;

CREATE FUNCTION rota.refuse_for_scope() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'this token lacks the scope %', TG_ARGV[0]
        USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'rota_scopes', DETAIL = TG_ARGV[0];
END
$$;
REVOKE ALL ON FUNCTION rota.refuse_for_scope() FROM PUBLIC, anon, authenticated;

DO $$
DECLARE
    guarded record;
BEGIN
    FOR guarded IN
        SELECT * FROM (VALUES
            ('manage', ARRAY['agent_configurations', 'agent_tools', 'user_tool_preferences',
                             'user_settings', 'user_limits', 'agent_schedules', 'schedule_calendars',
                             'calendars', 'calendar_days', 'pauses', 'connections',
                             'user_channels']),
            ('decide', ARRAY['approval_rules', 'approval_deputies'])
        ) AS g (scope, tables), unnest(g.tables) AS relation
    LOOP
        EXECUTE format(
            'CREATE TRIGGER a_scope_is_needed BEFORE INSERT OR UPDATE OR DELETE ON public.%I'
            ' FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0 AND NOT rota.may(%L))'
            ' EXECUTE FUNCTION rota.refuse_for_scope(%L)',
            guarded.relation, guarded.scope, guarded.scope);
    END LOOP;
END
$$;

-- A run is asked for: now, once more, or for past fire times. A run that executes an approved call
-- follows from the decision.
CREATE TRIGGER a_scope_is_needed_insert BEFORE INSERT ON public.agent_runs
    FOR EACH ROW WHEN (NEW.trigger IN ('manual', 'backfill', 'retry')
                       AND pg_trigger_depth() = 0 AND NOT rota.may('trigger'))
    EXECUTE FUNCTION rota.refuse_for_scope('trigger');
CREATE TRIGGER a_scope_is_needed_update BEFORE UPDATE OF cancel_requested_at ON public.agent_runs
    FOR EACH ROW WHEN (NEW.cancel_requested_at IS NOT NULL
                       AND pg_trigger_depth() = 0 AND NOT rota.may('trigger'))
    EXECUTE FUNCTION rota.refuse_for_scope('trigger');

-- A call is decided on, settled or edited: whoever does that changes its row.
CREATE TRIGGER a_scope_is_needed BEFORE UPDATE ON public.pending_actions
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND NOT rota.may('decide'))
    EXECUTE FUNCTION rota.refuse_for_scope('decide');
