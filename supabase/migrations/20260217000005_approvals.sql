-- Approvals: the rules on calls of tools, the calls that wait for a person's yes, who may give it,
-- and what follows from it. See docs/explanation/approvals.md.

-- What runs, what waits, what is refused. Data, never code.
CREATE TABLE public.approval_rules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    effect text NOT NULL CHECK (effect IN ('allow', 'require', 'deny')),
    tool text NOT NULL CHECK (tool ~ '^([a-zA-Z0-9_-]{1,64}|[a-zA-Z0-9_-]{0,63}\*)$'),
    for_user uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    agent_name text CHECK (agent_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    schedule_id uuid REFERENCES public.agent_schedules (id) ON DELETE CASCADE,
    attendance text NOT NULL DEFAULT 'any'
        CHECK (attendance IN ('any', 'unattended', 'interactive')),
    conditions jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(conditions) = 'array' AND octet_length(conditions::text) <= 100000),
    risk text CHECK (risk IN ('low', 'medium', 'high')),
    note text NOT NULL DEFAULT '' CHECK (char_length(note) <= 300),
    tool_version integer,
    expires_at timestamptz CHECK (expires_at > '2000-01-01Z' AND expires_at < '9000-01-01Z'),
    uses_left integer CHECK (uses_left BETWEEN 0 AND 1000000),
    from_action uuid, -- no reference: the rule outlives the action
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT approval_rules_person_check CHECK (user_id IS NULL OR for_user IS NULL),
    CONSTRAINT approval_rules_uses_check CHECK (uses_left IS NULL OR effect = 'allow')
);
COMMENT ON TABLE public.approval_rules IS
    'Rules on calls of tools: what runs, what waits, what is refused. Data, never code';
COMMENT ON COLUMN public.approval_rules.id IS 'Identifies the rule';
COMMENT ON COLUMN public.approval_rules.user_id IS 'Whose rule it is; NULL: the operator''s';
COMMENT ON COLUMN public.approval_rules.effect IS 'allow, require (approval) or deny';
COMMENT ON COLUMN public.approval_rules.tool IS
    'A tool''s name, the beginning of names and *, or *';
COMMENT ON COLUMN public.approval_rules.for_user IS
    'The person an operator''s rule holds for; NULL: all';
COMMENT ON COLUMN public.approval_rules.agent_name IS 'The agent it holds for; NULL: all';
COMMENT ON COLUMN public.approval_rules.schedule_id IS 'The schedule it holds for; NULL: all runs';
COMMENT ON COLUMN public.approval_rules.attendance IS
    'any, unattended (runs that nobody asked for just now) or interactive';
COMMENT ON COLUMN public.approval_rules.conditions IS
    'List of {arguments, test, values, not, missing}: all have to hold. What cannot be read '
    'requires approval';
COMMENT ON COLUMN public.approval_rules.risk IS
    'The least risk that a matching call is of; NULL: as the tool says';
COMMENT ON COLUMN public.approval_rules.note IS 'For people: what it is for';
COMMENT ON COLUMN public.approval_rules.tool_version IS
    'It holds only while the tool is declared as it was then; NULL: always';
COMMENT ON COLUMN public.approval_rules.expires_at IS 'It holds until then; NULL: for ever';
COMMENT ON COLUMN public.approval_rules.uses_left IS
    'Calls that it still lets run; NULL: any number';
COMMENT ON COLUMN public.approval_rules.from_action IS
    'The pending action it was made from ("always allow this"); kept when that is pruned';
COMMENT ON COLUMN public.approval_rules.created_at IS 'When the row was made';
CREATE INDEX approval_rules_user_idx ON public.approval_rules (user_id);
CREATE INDEX approval_rules_for_user_idx ON public.approval_rules (for_user);
CREATE INDEX approval_rules_schedule_idx ON public.approval_rules (schedule_id);

CREATE TABLE public.pending_actions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,

    -- Where in which run it was asked for, and how that run goes on.
    run_id uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL,
    model_step integer,
    call_index integer,
    mode text NOT NULL DEFAULT 'queue' CHECK (mode IN ('queue', 'suspend')),

    -- What was asked for. An approval is of that tool as it was then, not of another.
    agent_name text NOT NULL,
    tool_name text NOT NULL,
    tool_version integer,
    definition_hash text CHECK (definition_hash ~ '^[0-9a-f]{64}$'),
    arguments jsonb NOT NULL,
    arguments_hash text NOT NULL,
    sealed_arguments bytea,
    proposed_arguments jsonb,
    proposed_hash text,
    argument_schema jsonb,
    version integer NOT NULL DEFAULT 1,
    risk text NOT NULL DEFAULT 'high' CHECK (risk IN ('low', 'medium', 'high')),
    reason text NOT NULL DEFAULT '',
    account text NOT NULL DEFAULT '' CHECK (char_length(account) <= 2000),

    -- What became of it.
    status text NOT NULL DEFAULT 'pending' CHECK (
        status IN ('pending', 'approved', 'refused', 'expired', 'withdrawn', 'running',
                   'succeeded', 'failed', 'unknown')),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    remind_at timestamptz,
    warned_at timestamptz,
    escalated_at timestamptz,
    decided_at timestamptz,
    decided_by uuid REFERENCES auth.users (id) ON DELETE SET NULL,
    decided_via text CHECK (decided_via ~ '^[a-z][a-z0-9_]{0,30}$'),
    decision_reason text NOT NULL DEFAULT '' CHECK (char_length(decision_reason) <= 1000),
    executing_token bigint,
    started_at timestamptz,
    finished_at timestamptz,
    result text CHECK (char_length(result) <= 50000),
    created_at timestamptz NOT NULL DEFAULT now(),

    UNIQUE (run_id, model_step, call_index) -- a replayed attempt asks once
);
COMMENT ON TABLE public.pending_actions IS
    'Calls of tools that wait for a person''s decision, and what became of them';
COMMENT ON COLUMN public.pending_actions.id IS 'Identifies the action';
COMMENT ON COLUMN public.pending_actions.user_id IS 'Who decides: the owner of the run';
COMMENT ON COLUMN public.pending_actions.run_id IS 'The run that asked; NULL: it was pruned';
COMMENT ON COLUMN public.pending_actions.model_step IS
    'Model call that asked for it, see agent_run_steps';
COMMENT ON COLUMN public.pending_actions.call_index IS 'Which call of that model call';
COMMENT ON COLUMN public.pending_actions.mode IS
    'queue: the agent went on without the result. suspend: its run waits';
COMMENT ON COLUMN public.pending_actions.agent_name IS 'The agent that asked';
COMMENT ON COLUMN public.pending_actions.tool_name IS 'The tool';
COMMENT ON COLUMN public.pending_actions.tool_version IS
    'Version of the tool''s declaration when it was asked for; NULL: a tool without a row';
COMMENT ON COLUMN public.pending_actions.definition_hash IS
    'SHA-256, in hex, of the tool''s definition when it was asked for; NULL: not pinned';
COMMENT ON COLUMN public.pending_actions.arguments IS
    'Arguments as people see them, secrets redacted';
COMMENT ON COLUMN public.pending_actions.arguments_hash IS
    'SHA-256, in hex, of all arguments as canonical JSON (RFC 8785)';
COMMENT ON COLUMN public.pending_actions.sealed_arguments IS
    'All of the arguments, encrypted; NULL: those shown are all';
COMMENT ON COLUMN public.pending_actions.proposed_arguments IS
    'What the agent asked for, where a person edited it';
COMMENT ON COLUMN public.pending_actions.proposed_hash IS
    'Hash of what the agent asked for, where a person edited it';
COMMENT ON COLUMN public.pending_actions.argument_schema IS 'JSON Schema that an edit is held to';
COMMENT ON COLUMN public.pending_actions.version IS 'Counts edits: a decision is on one of them';
COMMENT ON COLUMN public.pending_actions.risk IS
    'How much harm the call can do: low, medium or high';
COMMENT ON COLUMN public.pending_actions.reason IS 'Why it was held, for people';
COMMENT ON COLUMN public.pending_actions.account IS 'What the agent said beside the call';
COMMENT ON COLUMN public.pending_actions.status IS
    'pending, approved, refused, expired, withdrawn, running, succeeded, failed, or unknown '
    '(begun, and nobody can say how it ended)';
COMMENT ON COLUMN public.pending_actions.expires_at IS 'It can be decided until then';
COMMENT ON COLUMN public.pending_actions.remind_at IS
    'Its owner is told once more then; NULL: not again';
COMMENT ON COLUMN public.pending_actions.warned_at IS
    'When its owner was told that it expires soon';
COMMENT ON COLUMN public.pending_actions.escalated_at IS
    'Its owner did not decide in time: from then on their deputies may';
COMMENT ON COLUMN public.pending_actions.decided_at IS
    'When it was decided, or expired or was withdrawn';
COMMENT ON COLUMN public.pending_actions.decided_by IS 'The person who decided';
COMMENT ON COLUMN public.pending_actions.decided_via IS 'By which way: cli, api, web, telegram';
COMMENT ON COLUMN public.pending_actions.decision_reason IS 'What that person said';
COMMENT ON COLUMN public.pending_actions.executing_token IS
    'Fencing token of the attempt that executes it';
COMMENT ON COLUMN public.pending_actions.started_at IS 'When its execution began';
COMMENT ON COLUMN public.pending_actions.finished_at IS 'When its execution ended';
COMMENT ON COLUMN public.pending_actions.result IS 'What the tool answered, or why it failed';
COMMENT ON COLUMN public.pending_actions.created_at IS 'When it was asked for';
CREATE INDEX pending_actions_user_idx ON public.pending_actions (user_id, created_at DESC);
CREATE INDEX pending_actions_open_idx ON public.pending_actions (expires_at)
    WHERE status = 'pending';
CREATE INDEX pending_actions_remind_idx ON public.pending_actions (remind_at)
    WHERE status = 'pending' AND remind_at IS NOT NULL;
CREATE INDEX pending_actions_waiting_idx ON public.pending_actions (user_id, agent_name)
    WHERE status = 'pending';
CREATE INDEX pending_actions_waited_for_idx ON public.pending_actions (run_id)
    WHERE mode = 'suspend' AND status IN ('pending', 'approved', 'running');
CREATE INDEX pending_actions_escalated_idx ON public.pending_actions (user_id)
    WHERE escalated_at IS NOT NULL;
CREATE INDEX pending_actions_decided_idx
    ON public.pending_actions (user_id, agent_name, tool_name, decided_at)
    WHERE decided_by IS NOT NULL;

-- The run that executes an approved action, and nothing else.
ALTER TABLE public.agent_runs
    ADD FOREIGN KEY (action_id) REFERENCES public.pending_actions (id) ON DELETE CASCADE;

-- Who may stand in for whom, as the operator says: a person names nobody by themselves, so nobody is
-- sent the requests of strangers.
CREATE TABLE public.approval_deputies (
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    deputy_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    user_name text NOT NULL CHECK (user_name <> '' AND char_length(user_name) <= 320),
    deputy_name text NOT NULL CHECK (deputy_name <> '' AND char_length(deputy_name) <= 320),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, deputy_id),
    CONSTRAINT approval_deputies_other_check CHECK (user_id <> deputy_id)
);
COMMENT ON TABLE public.approval_deputies IS
    'Who may decide in whose place, once the owner was too slow; as the operator says';
COMMENT ON COLUMN public.approval_deputies.user_id IS 'The person whose actions they are';
COMMENT ON COLUMN public.approval_deputies.deputy_id IS 'Who may stand in';
COMMENT ON COLUMN public.approval_deputies.user_name IS
    'The person as the operator named them: the deputy cannot look them up';
COMMENT ON COLUMN public.approval_deputies.deputy_name IS 'The deputy as the operator named them';
COMMENT ON COLUMN public.approval_deputies.created_at IS 'When the row was made';
CREATE INDEX approval_deputies_deputy_idx ON public.approval_deputies (deputy_id);

SELECT rota.keep_to_backend('public.approval_rules');
SELECT rota.keep_to_backend('public.pending_actions');
SELECT rota.keep_to_backend('public.approval_deputies');

-- People write their own rules past rota too. What they can loosen is bounded by the tools' tiers,
-- which rota looks at when it judges. A rule is not changed: it is removed, and another one made.
GRANT SELECT, DELETE ON public.approval_rules TO authenticated;
GRANT INSERT (user_id, effect, tool, agent_name, schedule_id, attendance, conditions, risk, note,
              tool_version, expires_at, uses_left, from_action)
    ON public.approval_rules TO authenticated;
CREATE POLICY reads_own_and_operators ON public.approval_rules FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid())
           OR (user_id IS NULL AND (SELECT auth.uid()) IS NOT NULL
               AND (for_user IS NULL OR for_user = (SELECT auth.uid()))));
CREATE POLICY inserts_own ON public.approval_rules FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid())
                AND (schedule_id IS NULL
                     OR EXISTS (SELECT FROM public.agent_schedules AS s
                                WHERE s.id = schedule_id AND s.user_id = (SELECT auth.uid()))));
CREATE POLICY deletes_own ON public.approval_rules FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- Everything of an action but the encrypted arguments and what the backend alone compares.
GRANT SELECT (id, user_id, run_id, model_step, call_index, mode, agent_name, tool_name, tool_version,
              definition_hash, arguments, arguments_hash, proposed_arguments, argument_schema,
              version, risk, reason, account, status, expires_at, remind_at, warned_at,
              escalated_at, decided_at, decided_by, decided_via, decision_reason, started_at,
              finished_at, result, created_at)
    ON public.pending_actions TO authenticated;
CREATE POLICY reads_own ON public.pending_actions FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
-- A deputy sees what waits for them, and what they decided themselves.
CREATE POLICY deputies_read_escalated ON public.pending_actions FOR SELECT TO authenticated
    USING (escalated_at IS NOT NULL
           AND (status = 'pending' OR decided_by = (SELECT auth.uid()))
           AND EXISTS (SELECT FROM public.approval_deputies AS d
                       WHERE d.user_id = pending_actions.user_id
                         AND d.deputy_id = (SELECT auth.uid())));

GRANT SELECT ON public.approval_deputies TO authenticated;
CREATE POLICY reads_own ON public.approval_deputies FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) IN (user_id, deputy_id));

-- The state machine of an action (domain/approvals/actions.py): what it does not know, no statement
-- does.
CREATE FUNCTION rota.refuse_action_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION 'an action does not go from % to %', OLD.status, NEW.status
        USING ERRCODE = 'check_violation';
END
$$;
CREATE TRIGGER refuse_transition BEFORE UPDATE OF status ON public.pending_actions
    FOR EACH ROW
    WHEN (NOT CASE OLD.status
              WHEN 'pending' THEN
                  NEW.status IN ('pending', 'approved', 'refused', 'expired', 'withdrawn')
              WHEN 'approved' THEN NEW.status IN ('approved', 'running', 'failed', 'withdrawn')
              WHEN 'running' THEN
                  NEW.status IN ('running', 'succeeded', 'failed', 'unknown')
              WHEN 'unknown' THEN NEW.status IN ('unknown', 'approved', 'succeeded', 'failed')
              ELSE NEW.status = OLD.status
              END)
    EXECUTE FUNCTION rota.refuse_action_transition();

-- What only a person does, the backend does not, though it may write the table: it neither approves,
-- refuses nor settles, and what is not pending any more keeps its arguments. The functions below act as
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
CREATE TRIGGER keep_decisions_to_people BEFORE INSERT OR UPDATE ON public.pending_actions
    FOR EACH ROW EXECUTE FUNCTION rota.keep_decisions_to_people();

-- Its owner decides; once they were too slow, their deputies may too.
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

-- What happens to an action is recorded with it, whoever does it. The tier is what is declared of
-- the tool at the time.
CREATE FUNCTION rota.record_decision(
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

-- A parked run goes on once nothing of it is pending. Whoever calls this holds the run's row.
CREATE FUNCTION rota.resume_run(of_run uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    UPDATE public.agent_runs AS r
    SET status = 'waiting', priority = greatest(r.priority, 100), queued_at = NULL
    WHERE r.id = of_run AND r.status = 'suspended'
      AND NOT EXISTS (SELECT FROM public.pending_actions AS a
                      WHERE a.run_id = r.id AND a.mode = 'suspend' AND a.status = 'pending');
    RETURN FOUND;
END
$$;

-- An approved action whose agent did not wait for it is executed by a run of its own.
CREATE FUNCTION rota.request_action_run(action public.pending_actions) RETURNS void
    LANGUAGE sql
    SET search_path = ''
AS $$
    INSERT INTO public.agent_runs (user_id, agent_name, prompt, trigger, priority, action_id)
    VALUES (action.user_id, action.agent_name, '', 'action', 100, action.id)
$$;

-- A person's decision on what they were shown: `version` is that of the arguments on the screen.
-- Whoever comes second, with whatever decision, hears what the first one made of it. Where a deputy
-- decides, the owner is told who did. What a stranger asks about is not there.
CREATE FUNCTION public.decide_action(
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

-- A person's word on an action of unknown outcome: it happened, it did not, or it is to be done
-- again, although the first attempt may still have landed.
CREATE FUNCTION public.settle_action(action_id uuid, outcome text, via text DEFAULT 'api')
    RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
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
        decided_at = now(), decided_by = caller, decided_via = settle_action.via,
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
        caller::text, via, settle_action.outcome);
    IF action.status = 'approved' THEN
        PERFORM rota.request_action_run(action);
    END IF;
    RETURN action.status;
END
$$;

-- A run that is cancelled asks for nothing any more; one that is parked goes on, to end.
CREATE FUNCTION rota.withdraw_actions() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    action public.pending_actions%ROWTYPE;
BEGIN
    FOR action IN
        UPDATE public.pending_actions AS a SET status = 'withdrawn', decided_at = now()
        WHERE a.run_id = NEW.id
          AND (a.status = 'pending' OR (a.status = 'approved' AND a.mode = 'suspend'))
        RETURNING a.*
    LOOP
        PERFORM rota.record_decision(
            action, 'withdrawn', 'not_run', 'rota', 'worker', 'its run was cancelled');
    END LOOP;
    -- What this run was to execute was not begun, and is not going to be.
    FOR action IN
        UPDATE public.pending_actions AS a SET status = 'withdrawn', decided_at = now()
        WHERE a.id = NEW.action_id AND a.status = 'approved' AND NEW.status = 'cancelled'
        RETURNING a.*
    LOOP
        PERFORM rota.record_decision(
            action, 'withdrawn', 'not_run', 'rota', 'worker', 'its run was cancelled');
    END LOOP;
    PERFORM rota.resume_run(NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER withdraw_actions AFTER UPDATE OF cancel_requested_at ON public.agent_runs
    FOR EACH ROW
    WHEN (OLD.cancel_requested_at IS NULL AND NEW.cancel_requested_at IS NOT NULL)
    EXECUTE FUNCTION rota.withdraw_actions();

-- Every run reads its owner's rules, so there are not more than it can look at.
CREATE FUNCTION rota.bound_approval_rules() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended('rota.approval_rules ' || coalesce(NEW.user_id::text, ''), 0));
    IF (SELECT count(*) FROM public.approval_rules AS r
        WHERE r.user_id IS NOT DISTINCT FROM NEW.user_id) >= 500 THEN
        RAISE EXCEPTION 'there are 500 rules already' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER bound_rules BEFORE INSERT ON public.approval_rules
    FOR EACH ROW EXECUTE FUNCTION rota.bound_approval_rules();

COMMENT ON FUNCTION public.decide_action(uuid, text, integer, text, text) IS
    'Decides on a pending action (approve or refuse) as the person who calls it, and returns its status. '
    'Where a deputy decided, it tells the owner itself: it is called through PostgREST too, and nothing '
    'of rota may be running. No other function inserts notifications; a test finds any';
COMMENT ON FUNCTION public.settle_action(uuid, text, text) IS
    'Says of an action of unknown outcome that it happened, that it did_not, or that it is to be done '
    'again, and returns its status';

REVOKE ALL ON FUNCTION public.decide_action(uuid, text, integer, text, text)
    FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.settle_action(uuid, text, text) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.decide_action(uuid, text, integer, text, text) TO authenticated;
GRANT EXECUTE ON FUNCTION public.settle_action(uuid, text, text) TO authenticated;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION
    rota.record_decision(public.pending_actions, text, text, text, text, text),
    rota.resume_run(uuid) TO service_role;
