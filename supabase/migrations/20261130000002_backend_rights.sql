-- What the backend and the request roles may do at most: default privileges are taken back, a
-- decision is on the arguments that were shown, and people are looked up through the owner.

-- Locks a table down to the backend, and the sequences of its columns; what a person may do is granted
-- afterwards, by policy and by column. Supabase's default privileges hand every new table and sequence
-- to anon, authenticated and service_role, with TRUNCATE and TRIGGER: whatever one may do on them is
-- taken back first. SPEC-003 lets the role `postgres` do everything, where there is one.
CREATE OR REPLACE FUNCTION rota.keep_to_backend(relation regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own pg_catalog.regclass;
    is_identity boolean;
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, anon, authenticated, service_role', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO service_role', relation);
    FOR own, is_identity IN
        SELECT c.oid::pg_catalog.regclass, d.deptype = 'i'
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND d.refobjid = relation AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    LOOP
        EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM PUBLIC, anon, authenticated, service_role', own);
        IF NOT is_identity THEN -- an identity column asks nobody for leave
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO service_role', own);
        END IF;
    END LOOP;
    EXECUTE format(
        'CREATE POLICY backend_all ON %s FOR ALL TO service_role USING (true) WITH CHECK (true)',
        relation
    );
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'postgres') THEN
        EXECUTE format(
            'CREATE POLICY postgres_all ON %s FOR ALL TO postgres USING (true) WITH CHECK (true)',
            relation
        );
    END IF;
END
$$;

-- The same for the tables that there are already, which are known by that policy: of what they have,
-- service_role keeps SELECT, INSERT, UPDATE and DELETE. MAINTAIN is there from PostgreSQL 17 on.
DO $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT c.oid::regclass AS relation, a.privilege_type AS privilege
        FROM pg_catalog.pg_policy AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
        CROSS JOIN aclexplode(c.relacl) AS a
        WHERE p.polname = 'backend_all' AND c.relnamespace IN ('public'::regnamespace, 'rota'::regnamespace)
          AND a.grantee = 'service_role'::regrole
          AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    LOOP
        EXECUTE format('REVOKE %s ON %s FROM service_role', held.privilege, held.relation);
    END LOOP;
    FOR held IN
        SELECT s.oid::regclass AS relation
        FROM pg_catalog.pg_policy AS p
        JOIN pg_catalog.pg_depend AS d ON d.refobjid = p.polrelid AND d.refobjsubid > 0
             AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
             AND d.deptype = 'i'
        JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE p.polname = 'backend_all' AND s.relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format(
            'REVOKE ALL ON SEQUENCE %s FROM PUBLIC, anon, authenticated, service_role', held.relation);
    END LOOP;
END
$$;

-- An action is asked for once, and stays: who could remove one could put another in its place, under
-- its id. It goes with its person.
REVOKE DELETE ON public.pending_actions FROM service_role;

-- What only a person does, the backend does not, though it may write the table: it neither approves,
-- refuses nor settles, and what is not pending any more keeps its arguments. The functions below act as
-- the owner of the table, as whoever has the owner's password may.
CREATE OR REPLACE FUNCTION rota.keep_decisions_to_people() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_catalog.pg_has_role(
        current_user,
        (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = TG_RELID), 'USAGE') THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' OR NEW.version <> 1
            OR coalesce(NEW.decided_by::text, NEW.decided_via, NEW.decided_at::text,
                        NEW.escalated_at::text) IS NOT NULL THEN
            RAISE EXCEPTION 'an action begins as pending' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END IF;
    IF ((NEW.status IN ('approved', 'refused') OR OLD.status = 'unknown')
            AND NEW.status <> OLD.status)
        OR (NEW.decided_by, NEW.decided_via, NEW.decision_reason)
           IS DISTINCT FROM (OLD.decided_by, OLD.decided_via, OLD.decision_reason)
        OR (NEW.decided_at IS DISTINCT FROM OLD.decided_at
            AND NOT (NEW.status IN ('expired', 'withdrawn') AND NEW.status <> OLD.status)) THEN
        RAISE EXCEPTION 'only a person decides on an action'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (NEW.id, NEW.user_id, NEW.run_id, NEW.model_step, NEW.call_index, NEW.agent_name, NEW.tool_name,
        NEW.tool_version, NEW.definition_hash, NEW.argument_schema, NEW.risk, NEW.reason,
        NEW.account, NEW.mode, NEW.created_at, NEW.expires_at)
        IS DISTINCT FROM
        (OLD.id, OLD.user_id, OLD.run_id, OLD.model_step, OLD.call_index, OLD.agent_name, OLD.tool_name,
         OLD.tool_version, OLD.definition_hash, OLD.argument_schema, OLD.risk, OLD.reason,
         OLD.account, OLD.mode, OLD.created_at, OLD.expires_at)
        OR ((NEW.arguments, NEW.sealed_arguments, NEW.arguments_hash, NEW.proposed_arguments,
             NEW.proposed_hash)
            IS DISTINCT FROM
            (OLD.arguments, OLD.sealed_arguments, OLD.arguments_hash, OLD.proposed_arguments,
             OLD.proposed_hash)
            AND (OLD.status <> 'pending' OR NEW.version <> OLD.version + 1)) THEN
        RAISE EXCEPTION 'what was asked for is not changed behind the person who decides'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

-- By which way a decision came is what its caller says. rota's own roles are believed: the owner's and
-- the one that rota works as. Whoever signs in as another role is recorded as `sql`.
CREATE FUNCTION rota.origin_of_session(via text) RETURNS text
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF session_user = 'rota_backend' OR session_user = (
        SELECT pg_catalog.pg_get_userbyid(n.nspowner)
        FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'rota'
    ) THEN
        RETURN via;
    END IF;
    RETURN 'sql';
END
$$;

-- A person's decision on what they were shown: `version` is that of the arguments on the screen,
-- `arguments_hash` their hash, so that nothing else under that id is decided on. Whoever comes second,
-- with whatever decision, hears what the first one made of it. Where a deputy decides, the owner is told
-- who did. What a stranger asks about is not there.
DROP FUNCTION public.decide_action(uuid, text, integer, text, text);
CREATE FUNCTION public.decide_action(
    action_id uuid, decision text, version integer DEFAULT NULL, reason text DEFAULT NULL,
    via text DEFAULT 'api', arguments_hash text DEFAULT NULL
) RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    caller pg_catalog.uuid := auth.uid();
    origin pg_catalog.text := rota.origin_of_session(via);
    action public.pending_actions%ROWTYPE;
    parked pg_catalog.uuid;
BEGIN
    IF decision IS NULL OR decision NOT IN ('approve', 'refuse') THEN
        RAISE EXCEPTION 'a decision is approve or refuse'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT a.run_id INTO parked FROM public.pending_actions AS a
    WHERE a.id = decide_action.action_id AND rota.decides_on(a, caller);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such action' USING ERRCODE = 'no_data_found';
    END IF;
    -- The run's row first, as whoever parks it has it: then one of the two sees the other.
    PERFORM FROM public.agent_runs AS r WHERE r.id = parked FOR NO KEY UPDATE;
    UPDATE public.pending_actions AS a
    SET status = CASE decide_action.decision WHEN 'approve' THEN 'approved' ELSE 'refused' END,
        decided_at = now(), decided_by = caller, decided_via = origin,
        decision_reason = left(coalesce(decide_action.reason, ''), 1000)
    WHERE a.id = decide_action.action_id AND rota.decides_on(a, caller) AND a.status = 'pending'
      AND (decide_action.version IS NULL OR a.version = decide_action.version)
      AND (decide_action.arguments_hash IS NULL
           OR a.arguments_hash = decide_action.arguments_hash)
      AND a.expires_at > clock_timestamp()
    RETURNING a.* INTO action;
    IF NOT FOUND THEN
        SELECT * INTO action FROM public.pending_actions AS a
        WHERE a.id = decide_action.action_id AND rota.decides_on(a, caller);
        IF NOT FOUND THEN -- not their deputy any more, since a moment ago
            RAISE EXCEPTION 'no such action' USING ERRCODE = 'no_data_found';
        END IF;
        RAISE EXCEPTION '%', CASE
            WHEN action.status <> 'pending' THEN action.status
            WHEN action.expires_at <= clock_timestamp() THEN 'expired'
            ELSE 'edited' END
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM rota.record_decision(
        action, action.status, 'not_run', caller::pg_catalog.text, origin, action.decision_reason);
    IF action.mode = 'suspend' THEN
        PERFORM rota.resume_run(action.run_id);
    ELSIF action.status = 'approved' THEN
        PERFORM rota.request_action_run(action);
    END IF;
    IF action.user_id <> caller THEN
        INSERT INTO public.notifications (user_id, category, title, body, metadata, run_id)
        SELECT action.user_id, 'info',
               left(format('%s %s %s in your place', d.deputy_name, action.status,
                           action.tool_name), 300),
               format('%s had asked for it, and you had not decided.', action.agent_name),
               jsonb_build_object('action_id', action.id, 'decided_by', caller), action.run_id
        FROM public.approval_deputies AS d
        WHERE d.user_id = action.user_id AND d.deputy_id = caller;
    END IF;
    RETURN action.status;
END
$$;

-- A person's word on an action of unknown outcome: it happened, it did not, or it is to be done
-- again, although the first attempt may still have landed.
DROP FUNCTION public.settle_action(uuid, text, text);
CREATE FUNCTION public.settle_action(action_id uuid, outcome text, via text DEFAULT 'api')
    RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    caller pg_catalog.uuid := auth.uid();
    origin pg_catalog.text := rota.origin_of_session(via);
    action public.pending_actions%ROWTYPE;
BEGIN
    IF outcome IS NULL OR outcome NOT IN ('happened', 'did_not', 'again') THEN
        RAISE EXCEPTION 'an outcome is happened, did_not or again'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE public.pending_actions AS a
    SET status = CASE settle_action.outcome WHEN 'happened' THEN 'succeeded'
                                            WHEN 'did_not' THEN 'failed' ELSE 'approved' END,
        mode = CASE settle_action.outcome WHEN 'again' THEN 'queue' ELSE a.mode END,
        decided_at = now(), decided_by = caller, decided_via = origin,
        executing_token = NULL
    WHERE a.id = settle_action.action_id AND a.user_id = caller AND a.status = 'unknown'
    RETURNING a.* INTO action;
    IF NOT FOUND THEN
        SELECT * INTO action FROM public.pending_actions AS a
        WHERE a.id = settle_action.action_id AND a.user_id = caller;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no such action' USING ERRCODE = 'no_data_found';
        END IF;
        RAISE EXCEPTION '%', action.status USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM rota.record_decision(
        action, 'settled',
        CASE settle_action.outcome WHEN 'happened' THEN 'succeeded'
                                   WHEN 'did_not' THEN 'failed' ELSE 'not_run' END,
        caller::pg_catalog.text, origin, settle_action.outcome);
    IF action.status = 'approved' THEN
        PERFORM rota.request_action_run(action);
    END IF;
    RETURN action.status;
END
$$;

COMMENT ON FUNCTION public.decide_action(uuid, text, integer, text, text, text) IS
    'Decides on a pending action (approve or refuse) as the person who calls it, and returns its status. '
    'With version and arguments_hash, as they were shown, nothing else is decided on. Where a deputy '
    'decided, it tells the owner itself: it is called through PostgREST too, and nothing of rota may be '
    'running. No other function inserts notifications; a test finds any';
COMMENT ON FUNCTION public.settle_action(uuid, text, text) IS
    'Says of an action of unknown outcome that it happened, that it did_not, or that it is to be done '
    'again, and returns its status';
COMMENT ON COLUMN public.pending_actions.decided_via IS
    'By which way: cli, api, web, telegram; sql: by a session of another role than rota''s own';

REVOKE ALL ON FUNCTION public.decide_action(uuid, text, integer, text, text, text)
    FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.settle_action(uuid, text, text)
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION public.decide_action(uuid, text, integer, text, text, text) TO authenticated;
GRANT EXECUTE ON FUNCTION public.settle_action(uuid, text, text) TO authenticated;

-- People are rows of auth.users, which on Supabase the owner reads and the backend does not. It asks
-- these. Their bodies are text, not bound to the table: Supabase changes that as it likes.
CREATE FUNCTION rota.find_people(address text, person uuid) RETURNS SETOF uuid
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.id FROM auth.users AS u WHERE u.email = address OR u.id = person
$$;

CREATE FUNCTION rota.addresses_of_people(people uuid[]) RETURNS TABLE (id uuid, email text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.id, u.email::pg_catalog.text FROM auth.users AS u
    WHERE u.id = ANY (people) AND u.email IS NOT NULL
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION
    rota.find_people(text, uuid), rota.addresses_of_people(uuid[]) TO service_role;
