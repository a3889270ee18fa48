-- Triage: who decides where the owner does not in time. See docs/howto/approvals.md.

-- Who may stand in for whom, as the operator says: a person names nobody by themselves, so nobody is
-- sent the requests of strangers.
CREATE TABLE public.approval_deputies (
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    deputy_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    -- As the operator named them: neither can look the other up.
    user_name text NOT NULL CHECK (user_name <> '' AND char_length(user_name) <= 320),
    deputy_name text NOT NULL CHECK (deputy_name <> '' AND char_length(deputy_name) <= 320),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, deputy_id),
    CONSTRAINT approval_deputies_other_check CHECK (user_id <> deputy_id)
);
CREATE INDEX approval_deputies_deputy_idx ON public.approval_deputies (deputy_id);
SELECT rota.keep_to_backend('public.approval_deputies');
GRANT SELECT ON public.approval_deputies TO authenticated;
CREATE POLICY reads_own ON public.approval_deputies FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) IN (user_id, deputy_id));

ALTER TABLE public.pending_actions
    -- Its owner did not decide in time: from now on their deputies may.
    ADD COLUMN escalated_at timestamptz,
    ADD COLUMN proposed_hash text; -- of what the agent asked for, where a person edited it
GRANT SELECT (escalated_at) ON public.pending_actions TO authenticated;
CREATE INDEX pending_actions_waiting_idx ON public.pending_actions (user_id, agent_name)
    WHERE status = 'pending';
CREATE INDEX pending_actions_decided_idx
    ON public.pending_actions (user_id, agent_name, tool_name, decided_at)
    WHERE decided_by IS NOT NULL;
CREATE INDEX pending_actions_escalated_idx ON public.pending_actions (user_id)
    WHERE escalated_at IS NOT NULL;

-- A deputy sees what waits for them, and what they decided themselves.
CREATE POLICY deputies_read_escalated ON public.pending_actions FOR SELECT TO authenticated
    USING (escalated_at IS NOT NULL
           AND (status = 'pending' OR decided_by = (SELECT auth.uid()))
           AND EXISTS (SELECT FROM public.approval_deputies AS d
                       WHERE d.user_id = pending_actions.user_id
                         AND d.deputy_id = (SELECT auth.uid())));

CREATE FUNCTION rota.decides_on(action public.pending_actions, person uuid) RETURNS boolean
    LANGUAGE sql
    STABLE
    SET search_path = ''
AS $$
    SELECT action.user_id = person
        OR (action.escalated_at IS NOT NULL
            AND EXISTS (SELECT FROM public.approval_deputies AS d
                        WHERE d.user_id = action.user_id AND d.deputy_id = person))
$$;
REVOKE ALL ON FUNCTION rota.decides_on(public.pending_actions, uuid)
    FROM PUBLIC, anon, authenticated;

-- As before; where a deputy decides, the owner is told who did. What a stranger asks about is not
-- there; what was decided before the deputy came is said to be so.
CREATE OR REPLACE FUNCTION public.decide_action(
    action_id uuid, decision text, version integer DEFAULT NULL, reason text DEFAULT NULL,
    via text DEFAULT 'api'
) RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    action public.pending_actions%ROWTYPE;
    parked uuid;
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
        decided_at = now(), decided_by = caller, decided_via = decide_action.via,
        decision_reason = left(coalesce(decide_action.reason, ''), 1000)
    WHERE a.id = decide_action.action_id AND rota.decides_on(a, caller) AND a.status = 'pending'
      AND (decide_action.version IS NULL OR a.version = decide_action.version)
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
        action, action.status, 'not_run', caller::text, via, action.decision_reason);
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

-- Who looked at what is hidden in a request is recorded too.
ALTER TABLE public.audit_logs
    DROP CONSTRAINT audit_logs_decision_check,
    ADD CONSTRAINT audit_logs_decision_check CHECK (
        decision IN ('allowed', 'held', 'refused', 'approved', 'edited', 'expired', 'withdrawn',
                     'settled', 'forgotten', 'revealed'));

-- As before; the tier is what is declared of the tool at the time.
CREATE OR REPLACE FUNCTION rota.record_decision(
    action public.pending_actions, decision text, outcome text, actor text, origin text, detail text
) RETURNS void
    LANGUAGE sql
    SET search_path = ''
AS $$
    INSERT INTO public.audit_logs
        (user_id, run_id, agent_name, tool_name, tier, decision, outcome, arguments,
         arguments_hash, detail, called_at, action_id, actor, origin)
    VALUES (action.user_id, action.run_id, action.agent_name, action.tool_name,
            coalesce((SELECT t.default_tier FROM public.tools AS t
                      WHERE t.name = action.tool_name), 'unknown'),
            decision, outcome, action.arguments, action.arguments_hash, detail, now(), action.id,
            actor, origin)
$$;

-- What only a person does, the backend does not, though it may write the table: it neither approves,
-- refuses nor settles, and what is not pending any more keeps its arguments. The functions above act as
-- the owner of the table, as whoever has the owner's password may.
CREATE FUNCTION rota.keep_decisions_to_people() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
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
    IF (NEW.user_id, NEW.run_id, NEW.model_step, NEW.call_index, NEW.agent_name, NEW.tool_name,
        NEW.tool_version, NEW.definition_hash, NEW.argument_schema, NEW.risk, NEW.reason,
        NEW.account, NEW.mode, NEW.created_at, NEW.expires_at)
        IS DISTINCT FROM
        (OLD.user_id, OLD.run_id, OLD.model_step, OLD.call_index, OLD.agent_name, OLD.tool_name,
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
REVOKE ALL ON FUNCTION rota.keep_decisions_to_people() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER keep_decisions_to_people BEFORE INSERT OR UPDATE ON public.pending_actions
    FOR EACH ROW EXECUTE FUNCTION rota.keep_decisions_to_people();
