-- Pending actions that are decided, and executed once; runs that park until they are.

-- A suspended run holds no worker. It goes on, as a waiting one, once nothing of it is pending.
ALTER TABLE public.agent_runs
    DROP CONSTRAINT agent_runs_status_check,
    DROP CONSTRAINT agent_runs_trigger_check,
    ADD CONSTRAINT agent_runs_status_check CHECK (
        status IN ('waiting', 'queued', 'running', 'suspended', 'finished', 'cancelled')),
    ADD CONSTRAINT agent_runs_trigger_check CHECK (
        trigger IN ('schedule', 'catch_up', 'manual', 'backfill', 'retry', 'action')),
    -- The approved action that this run executes, and nothing else.
    ADD COLUMN action_id uuid REFERENCES public.pending_actions (id) ON DELETE CASCADE,
    ADD CONSTRAINT agent_runs_action_check CHECK ((trigger = 'action') = (action_id IS NOT NULL));
CREATE INDEX agent_runs_action_idx ON public.agent_runs (action_id) WHERE action_id IS NOT NULL;
CREATE INDEX agent_runs_suspended_idx ON public.agent_runs (created_at) WHERE status = 'suspended';

DROP TRIGGER refuse_transition ON public.agent_runs;
CREATE TRIGGER refuse_transition BEFORE UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (NOT CASE OLD.status
              WHEN 'waiting' THEN NEW.status IN ('waiting', 'queued', 'running', 'cancelled')
              WHEN 'queued' THEN NEW.status IN ('queued', 'waiting', 'running', 'cancelled')
              WHEN 'running' THEN NEW.status IN ('running', 'suspended', 'finished')
              WHEN 'suspended' THEN NEW.status IN ('suspended', 'waiting')
              ELSE NEW.status = OLD.status
              END)
    EXECUTE FUNCTION rota.refuse_transition();

CREATE TRIGGER announce_resumed AFTER UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (OLD.status = 'suspended' AND NEW.status = 'waiting')
    EXECUTE FUNCTION rota.announce('runs');

ALTER TABLE public.pending_actions
    -- queue: the agent went on without the result. suspend: its run waits for the decision.
    ADD COLUMN mode text NOT NULL DEFAULT 'queue' CHECK (mode IN ('queue', 'suspend')),
    ADD COLUMN version integer NOT NULL DEFAULT 1, -- counts edits: a decision is on one of them
    -- All of the arguments, encrypted; NULL: those shown are all, nothing in them is secret.
    ADD COLUMN sealed_arguments bytea,
    ADD COLUMN proposed_arguments jsonb, -- what the agent asked for, where a person edited it
    ADD COLUMN argument_schema jsonb, -- JSON Schema that an edit is held to
    ADD COLUMN account text NOT NULL DEFAULT '' -- what the agent said beside the call
        CHECK (char_length(account) <= 2000),
    ADD COLUMN decided_by uuid REFERENCES auth.users (id) ON DELETE SET NULL,
    ADD COLUMN decided_via text CHECK (decided_via ~ '^[a-z][a-z0-9_]{0,30}$'),
    ADD COLUMN decision_reason text NOT NULL DEFAULT ''
        CHECK (char_length(decision_reason) <= 1000),
    ADD COLUMN remind_at timestamptz, -- its owner is told once more then
    ADD COLUMN warned_at timestamptz, -- its owner was told that it expires soon
    ADD COLUMN started_at timestamptz,
    ADD COLUMN finished_at timestamptz,
    ADD COLUMN executing_token bigint, -- fencing token of the attempt that executes it
    ADD COLUMN result text CHECK (char_length(result) <= 50000);
CREATE INDEX pending_actions_open_idx ON public.pending_actions (expires_at)
    WHERE status = 'pending';
CREATE INDEX pending_actions_remind_idx ON public.pending_actions (remind_at)
    WHERE status = 'pending' AND remind_at IS NOT NULL;
CREATE INDEX pending_actions_waited_for_idx ON public.pending_actions (run_id)
    WHERE mode = 'suspend' AND status IN ('pending', 'approved', 'running');

-- The encrypted arguments are for the backend alone.
REVOKE SELECT ON public.pending_actions FROM authenticated;
GRANT SELECT (id, user_id, run_id, model_step, call_index, agent_name, tool_name, tool_version,
              arguments, arguments_hash, risk, reason, status, expires_at, decided_at, created_at,
              mode, version, proposed_arguments, argument_schema, account, decided_by, decided_via,
              decision_reason, remind_at, warned_at, started_at, finished_at, result)
    ON public.pending_actions TO authenticated;

ALTER TABLE public.audit_logs
    DROP CONSTRAINT audit_logs_decision_check,
    DROP CONSTRAINT audit_logs_outcome_check,
    ADD CONSTRAINT audit_logs_decision_check CHECK (
        decision IN ('allowed', 'held', 'refused', 'approved', 'edited', 'expired', 'withdrawn',
                     'settled')),
    ADD CONSTRAINT audit_logs_outcome_check CHECK (
        outcome IN ('succeeded', 'failed', 'started', 'not_run', 'unknown')),
    ADD COLUMN action_id uuid, -- no reference: the record outlives the action
    ADD COLUMN actor text NOT NULL DEFAULT 'agent' -- agent, rota, or the id of a person
        CHECK (actor <> '' AND char_length(actor) <= 100),
    ADD COLUMN origin text NOT NULL DEFAULT 'worker'
        CHECK (origin ~ '^[a-z][a-z0-9_]{0,30}$'); -- worker, cli, api, web, telegram
CREATE INDEX audit_logs_action_idx ON public.audit_logs (action_id) WHERE action_id IS NOT NULL;

-- The state machine of an action (domain/approvals/actions.py): what it does not know, no statement does.
CREATE FUNCTION rota.refuse_action_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION 'an action does not go from % to %', OLD.status, NEW.status
        USING ERRCODE = 'check_violation';
END
$$;
REVOKE ALL ON FUNCTION rota.refuse_action_transition() FROM PUBLIC, anon, authenticated;
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

-- What happens to an action is recorded with it, whoever does it.
CREATE FUNCTION rota.record_decision(
    action public.pending_actions, decision text, outcome text, actor text, origin text, detail text
) RETURNS void
    LANGUAGE sql
    SET search_path = ''
AS $$
    INSERT INTO public.audit_logs
        (user_id, run_id, agent_name, tool_name, tier, decision, outcome, arguments,
         arguments_hash, detail, called_at, action_id, actor, origin)
    VALUES (action.user_id, action.run_id, action.agent_name, action.tool_name, 'unknown',
            decision, outcome, action.arguments, action.arguments_hash, detail, now(), action.id,
            actor, origin)
$$;
REVOKE ALL ON FUNCTION
    rota.record_decision(public.pending_actions, text, text, text, text, text)
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION
    rota.record_decision(public.pending_actions, text, text, text, text, text) TO service_role;

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
REVOKE ALL ON FUNCTION rota.resume_run(uuid) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.resume_run(uuid) TO service_role;

-- An approved action whose agent did not wait for it is executed by a run of its own.
CREATE FUNCTION rota.request_action_run(action public.pending_actions) RETURNS void
    LANGUAGE sql
    SET search_path = ''
AS $$
    INSERT INTO public.agent_runs (user_id, agent_name, prompt, trigger, priority, action_id)
    VALUES (action.user_id, action.agent_name, '', 'action', 100, action.id)
$$;
REVOKE ALL ON FUNCTION rota.request_action_run(public.pending_actions)
    FROM PUBLIC, anon, authenticated;

-- A person's decision on what they were shown: `version` is that of the arguments on the screen.
-- Whoever comes second, with whatever decision, hears what the first one made of it.
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
    WHERE a.id = decide_action.action_id AND a.user_id = caller;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such action' USING ERRCODE = 'no_data_found';
    END IF;
    -- The run's row first, as whoever parks it has it: then one of the two sees the other.
    PERFORM FROM public.agent_runs AS r WHERE r.id = parked FOR NO KEY UPDATE;
    UPDATE public.pending_actions AS a
    SET status = CASE decide_action.decision WHEN 'approve' THEN 'approved' ELSE 'refused' END,
        decided_at = now(), decided_by = caller, decided_via = decide_action.via,
        decision_reason = left(coalesce(decide_action.reason, ''), 1000)
    WHERE a.id = decide_action.action_id AND a.user_id = caller AND a.status = 'pending'
      AND (decide_action.version IS NULL OR a.version = decide_action.version)
      AND a.expires_at > clock_timestamp()
    RETURNING a.* INTO action;
    IF NOT FOUND THEN
        SELECT * INTO action FROM public.pending_actions AS a
        WHERE a.id = decide_action.action_id AND a.user_id = caller;
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
    RETURN action.status;
END
$$;
REVOKE ALL ON FUNCTION public.decide_action(uuid, text, integer, text, text)
    FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.decide_action(uuid, text, integer, text, text) TO authenticated;

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
REVOKE ALL ON FUNCTION public.settle_action(uuid, text, text) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.settle_action(uuid, text, text) TO authenticated;

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
REVOKE ALL ON FUNCTION rota.withdraw_actions() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER withdraw_actions AFTER UPDATE OF cancel_requested_at ON public.agent_runs
    FOR EACH ROW
    WHEN (OLD.cancel_requested_at IS NULL AND NEW.cancel_requested_at IS NOT NULL)
    EXECUTE FUNCTION rota.withdraw_actions();

-- Cancelling a run, for a person, as before; a parked one goes on to end with what it has.
CREATE OR REPLACE FUNCTION public.request_cancel(run_id uuid, note text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    now_status text;
BEGIN
    UPDATE public.agent_runs AS r
    SET cancel_requested_at = now(),
        cancel_reason = coalesce(nullif(left(note, 500), ''), 'its owner asked for it'),
        status = CASE WHEN r.status IN ('running', 'suspended') THEN r.status
                      ELSE 'cancelled' END,
        finished_at = CASE WHEN r.status IN ('running', 'suspended') THEN NULL ELSE now() END
    WHERE r.id = request_cancel.run_id AND r.user_id = caller
      AND r.status IN ('waiting', 'queued', 'running', 'suspended')
      AND r.cancel_requested_at IS NULL
    RETURNING r.status INTO now_status;
    IF now_status IS NULL THEN
        SELECT r.status INTO now_status FROM public.agent_runs AS r
        WHERE r.id = request_cancel.run_id AND r.user_id = caller;
    END IF;
    IF now_status IS NULL THEN
        RAISE EXCEPTION 'no such run' USING ERRCODE = 'no_data_found';
    END IF;
    RETURN now_status;
END
$$;

-- As before, but not for a run that executed an approved action.
CREATE OR REPLACE FUNCTION public.request_retry(run_id uuid) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    earlier public.agent_runs%ROWTYPE;
    new_id uuid;
BEGIN
    SELECT * INTO earlier FROM public.agent_runs AS r
    WHERE r.id = request_retry.run_id AND r.user_id = caller;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such run' USING ERRCODE = 'no_data_found';
    END IF;
    IF earlier.status NOT IN ('finished', 'cancelled') THEN
        RAISE EXCEPTION 'the run is not over' USING ERRCODE = 'object_in_use';
    END IF;
    IF earlier.trigger = 'action' THEN -- its action is settled instead
        RAISE EXCEPTION 'the run executed an approved action' USING ERRCODE = 'object_in_use';
    END IF;
    INSERT INTO public.agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, priority, is_serial, options, retry_of)
    VALUES (earlier.user_id, earlier.schedule_id, earlier.agent_name, earlier.prompt, 'retry', 100,
            earlier.is_serial,
            (WITH RECURSIVE chain AS (
                SELECT earlier.retry_of, earlier.options, 0 AS place
                UNION ALL
                SELECT r.retry_of, r.options, c.place + 1
                FROM chain AS c JOIN public.agent_runs AS r ON r.id = c.retry_of
                WHERE c.place < 100)
             SELECT c.options FROM chain AS c ORDER BY c.place DESC LIMIT 1),
            earlier.id)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;
