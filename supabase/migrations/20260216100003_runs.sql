-- Runs: their life, their journal, who may run how much at a time, and how a person asks for one.

-- Fencing: every attempt of a run takes a greater token than any attempt before it.
CREATE SEQUENCE rota.fencing_tokens;
GRANT USAGE ON SEQUENCE rota.fencing_tokens TO service_role;

CREATE TABLE public.agent_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    schedule_id uuid REFERENCES public.agent_schedules (id) ON DELETE SET NULL,
    fire_time timestamptz,
    agent_name text NOT NULL,
    prompt text NOT NULL DEFAULT '',
    options jsonb CHECK (jsonb_typeof(options) = 'object' AND length(options::text) <= 100000),
    trigger text NOT NULL CHECK (
        trigger IN ('schedule', 'catch_up', 'manual', 'backfill', 'retry', 'action')),
    retry_of uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL,
    action_id uuid, -- references pending_actions, which references runs: see the file of approvals

    status text NOT NULL DEFAULT 'waiting' CHECK (
        status IN ('waiting', 'queued', 'running', 'suspended', 'finished', 'cancelled')),
    is_serial boolean NOT NULL DEFAULT false,
    priority integer NOT NULL DEFAULT 0,
    not_before timestamptz,
    start_tag bigint,
    cancel_requested_at timestamptz,
    cancel_reason text,

    session_id text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text,
    attempt integer NOT NULL DEFAULT 0,
    hand_overs integer NOT NULL DEFAULT 0,
    fencing_token bigint,
    snapshot jsonb,

    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    journal_pruned_at timestamptz,

    CONSTRAINT agent_runs_hand_overs_check CHECK (hand_overs BETWEEN 0 AND attempt),
    CONSTRAINT agent_runs_action_check CHECK ((trigger = 'action') = (action_id IS NOT NULL))
);
COMMENT ON TABLE public.agent_runs IS
    'Runs of agents: one row from the request to the end, whatever the number of attempts';
COMMENT ON COLUMN public.agent_runs.id IS 'Identifies the run';
COMMENT ON COLUMN public.agent_runs.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.agent_runs.schedule_id IS
    'The schedule it belongs to; NULL: none, or it was removed';
COMMENT ON COLUMN public.agent_runs.fire_time IS
    'The instant it was due; NULL for a run that no fire led to';
COMMENT ON COLUMN public.agent_runs.agent_name IS 'The agent that runs';
COMMENT ON COLUMN public.agent_runs.prompt IS 'What the agent is asked';
COMMENT ON COLUMN public.agent_runs.options IS
    'How this run alone is executed, over what its schedule says; NULL: nothing';
COMMENT ON COLUMN public.agent_runs.trigger IS
    'What led to it: schedule, catch_up, manual, backfill, retry, or action (it executes an '
    'approved action)';
COMMENT ON COLUMN public.agent_runs.retry_of IS 'The run that it repeats';
COMMENT ON COLUMN public.agent_runs.action_id IS
    'The approved action that it executes; set where trigger is action, and only there';
COMMENT ON COLUMN public.agent_runs.status IS
    'waiting, queued, running, suspended (parked until a person decides), finished or cancelled';
COMMENT ON COLUMN public.agent_runs.is_serial IS
    'Whether it waits until no other run of its schedule is under way';
COMMENT ON COLUMN public.agent_runs.priority IS
    'Greater goes first: 100 for what a person asks for, -10 for backfills';
COMMENT ON COLUMN public.agent_runs.not_before IS 'It waits until then; NULL: it need not';
COMMENT ON COLUMN public.agent_runs.start_tag IS
    'Its place in the fair order of its class (start-time fair queuing), smaller first; NULL for a run '
    'that was never queued';
COMMENT ON COLUMN public.agent_runs.cancel_requested_at IS 'When somebody asked it to stop';
COMMENT ON COLUMN public.agent_runs.cancel_reason IS 'Why, for people';
COMMENT ON COLUMN public.agent_runs.session_id IS 'Thread of the agent''s memory, one for each run';
COMMENT ON COLUMN public.agent_runs.attempt IS 'Attempts that were begun';
COMMENT ON COLUMN public.agent_runs.hand_overs IS
    'Attempts that ended without fault of the run: a worker that stopped, a run that parked';
COMMENT ON COLUMN public.agent_runs.fencing_token IS
    'Token of the attempt that may write, greater than those before it; NULL before the first';
COMMENT ON COLUMN public.agent_runs.snapshot IS
    'What the first attempt ran with, for later attempts';
COMMENT ON COLUMN public.agent_runs.created_at IS 'When it was asked for';
COMMENT ON COLUMN public.agent_runs.queued_at IS
    'When it was admitted; NULL while running: a process executes it itself, outside the queue';
COMMENT ON COLUMN public.agent_runs.started_at IS 'When the first attempt began';
COMMENT ON COLUMN public.agent_runs.finished_at IS 'When it was over: finished or cancelled';
COMMENT ON COLUMN public.agent_runs.journal_pruned_at IS
    'When its steps were deleted by the retention policy; NULL: they are there';
-- Waiting runs as admission looks for them: from person and agent to person and agent, and of each
-- only as many as there is room for.
CREATE INDEX agent_runs_waiting_idx ON public.agent_runs
    (user_id, agent_name, priority DESC, created_at, fire_time NULLS FIRST, id)
    WHERE status = 'waiting';
CREATE INDEX agent_runs_serial_idx ON public.agent_runs
    (schedule_id, priority DESC, created_at, fire_time NULLS FIRST, id)
    WHERE status = 'waiting' AND is_serial;
CREATE INDEX agent_runs_not_before_idx ON public.agent_runs (not_before)
    WHERE status = 'waiting' AND not_before IS NOT NULL;
CREATE INDEX agent_runs_unfinished_idx ON public.agent_runs (status, queued_at)
    WHERE status IN ('queued', 'running');
CREATE INDEX agent_runs_under_way_idx ON public.agent_runs (schedule_id, status)
    WHERE status IN ('waiting', 'queued', 'running', 'suspended');
CREATE INDEX agent_runs_suspended_idx ON public.agent_runs (created_at) WHERE status = 'suspended';
CREATE INDEX agent_runs_urgent_idx ON public.agent_runs (user_id, created_at) WHERE priority > 0;
CREATE INDEX agent_runs_user_idx ON public.agent_runs (user_id, created_at DESC);
CREATE INDEX agent_runs_schedule_idx ON public.agent_runs (schedule_id, created_at DESC);
CREATE INDEX agent_runs_retry_of_idx ON public.agent_runs (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX agent_runs_action_idx ON public.agent_runs (action_id) WHERE action_id IS NOT NULL;
-- A run goes only after its journal, so a finished run is in one of these two: the statement that
-- ends it writes one entry, and those before it none. No update of a run that was HOT before is less
-- so: these columns change only together with `status`, or long after the run's end. Steps, which
-- are written most, need no index for pruning.
CREATE INDEX agent_runs_journal_idx ON public.agent_runs (finished_at)
    WHERE status IN ('finished', 'cancelled') AND journal_pruned_at IS NULL;
CREATE INDEX agent_runs_pruned_idx ON public.agent_runs (finished_at)
    WHERE status IN ('finished', 'cancelled') AND journal_pruned_at IS NOT NULL;

ALTER TABLE public.schedule_occurrences
    ADD FOREIGN KEY (run_id) REFERENCES public.agent_runs (id) ON DELETE SET NULL;

-- The journal: trace, memory of a resumed attempt and ledger of side effects in one.
CREATE TABLE public.agent_run_steps (
    run_id uuid NOT NULL REFERENCES public.agent_runs (id) ON DELETE CASCADE,
    model_step integer NOT NULL CHECK (model_step >= 0),
    call_index integer NOT NULL CHECK (call_index >= -1),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('model', 'tool', 'callable')),
    name text NOT NULL,
    status text NOT NULL CHECK (status IN ('started', 'finished', 'failed', 'held', 'unknown')),
    attempt integer NOT NULL,
    tool_call_id text,
    request jsonb NOT NULL DEFAULT '{}',
    response jsonb,
    usage jsonb,
    cost_usd numeric CHECK (cost_usd >= 0),
    attempts jsonb,
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (run_id, model_step, call_index)
);
COMMENT ON TABLE public.agent_run_steps IS
    'The journal of a run: its trace, what a resumed attempt remembers, and the ledger of side '
    'effects in one';
COMMENT ON COLUMN public.agent_run_steps.run_id IS 'The run';
COMMENT ON COLUMN public.agent_run_steps.model_step IS
    'Counts model calls from 1; 0 for a pre-check';
COMMENT ON COLUMN public.agent_run_steps.call_index IS
    '-1 for the model call itself; its tool calls count from 0';
COMMENT ON COLUMN public.agent_run_steps.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.agent_run_steps.kind IS
    'model, tool, or callable (a step of registered code)';
COMMENT ON COLUMN public.agent_run_steps.name IS 'The model, the tool, or the step';
COMMENT ON COLUMN public.agent_run_steps.status IS
    'started, finished, failed, held (it waits for approval), or unknown (begun, and nobody can '
    'say how it ended)';
COMMENT ON COLUMN public.agent_run_steps.attempt IS 'Attempt of the run that wrote it';
COMMENT ON COLUMN public.agent_run_steps.tool_call_id IS 'How the model refers to the call';
COMMENT ON COLUMN public.agent_run_steps.request IS
    'Arguments of a tool, secrets redacted; of a model call, the hash of the request';
COMMENT ON COLUMN public.agent_run_steps.response IS 'The message, as LangChain serialises it';
COMMENT ON COLUMN public.agent_run_steps.usage IS 'Tokens, where the provider says';
COMMENT ON COLUMN public.agent_run_steps.cost_usd IS 'US dollars; NULL: no price is known';
COMMENT ON COLUMN public.agent_run_steps.attempts IS 'Of a model call: tries that failed before it';
COMMENT ON COLUMN public.agent_run_steps.error IS 'Why it failed, for people';
COMMENT ON COLUMN public.agent_run_steps.started_at IS 'When the call began';
COMMENT ON COLUMN public.agent_run_steps.finished_at IS
    'When it ended; NULL: it has not, or nobody saw it';

CREATE TABLE public.usage_days (
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    day date NOT NULL,
    schedule_id uuid, -- no reference: what was used was used, when the schedule is gone too
    model_calls bigint NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cost_usd numeric NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (user_id, day, schedule_id)
);
COMMENT ON TABLE public.usage_days IS
    'What was used, by day of the owner''s zone: in all, and by schedule';
COMMENT ON COLUMN public.usage_days.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.usage_days.day IS 'The day, in the owner''s time zone';
COMMENT ON COLUMN public.usage_days.schedule_id IS
    'The schedule, kept when it is removed; NULL: in all';
COMMENT ON COLUMN public.usage_days.model_calls IS 'Model calls';
COMMENT ON COLUMN public.usage_days.input_tokens IS 'Tokens sent';
COMMENT ON COLUMN public.usage_days.output_tokens IS 'Tokens received';
COMMENT ON COLUMN public.usage_days.cost_usd IS 'US dollars, as far as prices are known';

-- Limits that the operator sets: everybody's (user_id NULL), and those of single persons, column by
-- column. A column that is NULL in a person's row is as everybody has it; one that is named in
-- `unlimited` has no limit for this person, whatever everybody has.
CREATE TABLE public.user_limits (
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    max_concurrency integer CHECK (max_concurrency >= 1),
    day_tokens bigint CHECK (day_tokens >= 1),
    day_cost_usd numeric CHECK (day_cost_usd > 0 AND day_cost_usd < 'Infinity'),
    unlimited text[] NOT NULL DEFAULT '{}'
        CHECK (unlimited <@ ARRAY['max_concurrency', 'day_tokens', 'day_cost_usd']),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (user_id),
    CHECK (user_id IS NOT NULL OR unlimited = '{}'),
    CHECK (NOT (max_concurrency IS NOT NULL AND 'max_concurrency' = ANY (unlimited))),
    CHECK (NOT (day_tokens IS NOT NULL AND 'day_tokens' = ANY (unlimited))),
    CHECK (NOT (day_cost_usd IS NOT NULL AND 'day_cost_usd' = ANY (unlimited)))
);
COMMENT ON TABLE public.user_limits IS
    'Limits that the operator sets: everybody''s, and those of single persons';
COMMENT ON COLUMN public.user_limits.user_id IS
    'The person; NULL: everybody. A column that is NULL in a person''s row is as everybody has it';
COMMENT ON COLUMN public.user_limits.max_concurrency IS
    'Runs queued and running at a time; NULL: no limit, or everybody''s';
COMMENT ON COLUMN public.user_limits.day_tokens IS
    'Tokens, input and output, in a day of the person''s zone; NULL: no limit, or everybody''s';
COMMENT ON COLUMN public.user_limits.day_cost_usd IS
    'US dollars in a day of the person''s zone; NULL: no limit, or everybody''s';
COMMENT ON COLUMN public.user_limits.unlimited IS
    'Names of columns without a limit for this person, whatever everybody has';
COMMENT ON COLUMN public.user_limits.updated_at IS 'When the row was last changed';

-- What holds for all runs of all people together: one row.
CREATE TABLE rota.limits (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    max_concurrency integer CHECK (max_concurrency >= 1) -- NULL: no limit
);
INSERT INTO rota.limits DEFAULT VALUES;

-- The limits that hold for a person; NULL: none. Without a search_path of its own, so that it is
-- inlined where it is asked for many.
CREATE FUNCTION rota.limits_of(person uuid)
    RETURNS TABLE (max_concurrency integer, day_tokens bigint, day_cost_usd numeric)
    LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN 'max_concurrency' = ANY (own.unlimited) THEN NULL
                ELSE coalesce(own.max_concurrency, every.max_concurrency) END,
           CASE WHEN 'day_tokens' = ANY (own.unlimited) THEN NULL
                ELSE coalesce(own.day_tokens, every.day_tokens) END,
           CASE WHEN 'day_cost_usd' = ANY (own.unlimited) THEN NULL
                ELSE coalesce(own.day_cost_usd, every.day_cost_usd) END
    FROM (SELECT) AS one
    LEFT JOIN public.user_limits AS own ON own.user_id = person
    LEFT JOIN public.user_limits AS every ON every.user_id IS NULL
$$;

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.user_limits
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
-- A limit that was raised lets waiting runs in.
CREATE TRIGGER announce_limits AFTER INSERT OR UPDATE OR DELETE ON public.user_limits
    FOR EACH STATEMENT EXECUTE FUNCTION rota.announce('runs');
CREATE TRIGGER announce_limits AFTER UPDATE ON rota.limits
    FOR EACH STATEMENT EXECUTE FUNCTION rota.announce('runs');

-- The state machine of a run (domain/runs/run.py): what it does not know, no statement does.
CREATE FUNCTION rota.refuse_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION 'a run does not go from % to %', OLD.status, NEW.status
        USING ERRCODE = 'check_violation';
END
$$;
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

-- What a run counts as. Each meaning stands here once: plain expressions without a search_path, so
-- that the planner inlines them and finds the partial indexes above.

-- It counts against the limits: admitted by a scheduler, and not over. A run that a process executes
-- itself, outside the queue, was not admitted and would never be ended by anybody else; it holds no
-- slot, and nobody waits for it.
CREATE FUNCTION rota.holds_slot(run public.agent_runs) RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS $$ SELECT run.status = 'queued' OR (run.status = 'running' AND run.queued_at IS NOT NULL) $$;

-- It is not over, and it is somebody's to end: it waits, holds a slot, or is parked.
CREATE FUNCTION rota.is_unfinished(run public.agent_runs) RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS $$ SELECT run.status IN ('waiting', 'suspended') OR rota.holds_slot(run) $$;

-- It waits, and its time has come.
CREATE FUNCTION rota.is_in_line(run public.agent_runs) RETURNS boolean
    LANGUAGE sql STABLE
AS $$ SELECT run.status = 'waiting' AND (run.not_before IS NULL OR run.not_before <= now()) $$;

-- The overlap rule, for schedulers and for whoever asks for a run now: what a new run of a schedule
-- does, by an overlap policy: 'run', 'cancel_and_run' or 'skip'; NULL for a policy that does not
-- exist. `since` and `parked` tell of the unfinished runs it was judged by.
--
-- A parked run counts: its work is not done, and another run would ask for the same once more. A
-- backfill does not: the present goes before it. Nor does a run that waits for its time, a retry
-- say: no fire is skipped because an earlier one failed.
CREATE FUNCTION rota.judge_overlap(of_schedule uuid, policy text)
    RETURNS TABLE (start text, since timestamptz, parked boolean)
    LANGUAGE sql STABLE
AS $$
    SELECT CASE policy
               WHEN 'skip' THEN CASE WHEN count(*) > 0 THEN 'skip' ELSE 'run' END
               WHEN 'buffer_one' THEN CASE WHEN count(*) > 1 THEN 'skip' ELSE 'run' END
               WHEN 'buffer_all' THEN 'run'
               WHEN 'cancel_other' THEN CASE WHEN count(*) > 0 THEN 'cancel_and_run' ELSE 'run' END
               WHEN 'allow_all' THEN 'run'
           END,
           min(coalesce(r.fire_time, r.created_at)),
           coalesce(bool_or(r.status = 'suspended'), false)
    FROM public.agent_runs AS r
    WHERE r.schedule_id = of_schedule AND rota.is_unfinished(r) AND r.trigger <> 'backfill'
      AND (r.status <> 'waiting' OR rota.is_in_line(r))
$$;

-- A serial run is admitted when it is the first of its schedule's line and none has begun that is
-- not over.
CREATE VIEW rota.runs_to_admit WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.agent_name, r.priority, r.created_at, r.fire_time
FROM public.agent_runs AS r
WHERE rota.is_in_line(r)
  AND CASE
      WHEN NOT r.is_serial THEN true
      WHEN r.id <> (
          SELECT o.id FROM public.agent_runs AS o
          WHERE o.schedule_id = r.schedule_id AND rota.is_in_line(o) AND o.is_serial
          ORDER BY o.priority DESC, o.created_at, o.fire_time NULLS FIRST, o.id
          LIMIT 1
      ) THEN false
      ELSE NOT EXISTS (
          SELECT FROM public.agent_runs AS o
          WHERE o.schedule_id = r.schedule_id AND o.status <> 'waiting'
            AND rota.is_unfinished(o)
      ) END;
COMMENT ON VIEW rota.runs_to_admit IS
    'Waiting runs whose time, and whose turn in their own schedule, has come.';
GRANT SELECT ON rota.runs_to_admit TO service_role;

-- A scheduler queues the runs that it writes itself, and need not be told of them.
CREATE TRIGGER announce_waiting AFTER INSERT ON public.agent_runs
    FOR EACH ROW
    WHEN (NEW.status = 'waiting' AND NEW.trigger NOT IN ('schedule', 'catch_up'))
    EXECUTE FUNCTION rota.announce('runs');
CREATE TRIGGER announce_resumed AFTER UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (OLD.status = 'suspended' AND NEW.status = 'waiting')
    EXECUTE FUNCTION rota.announce('runs');

-- Wakes schedulers when a run ends that others wait for: of its schedule, or under a limit. Where
-- there is no limit, what waits lacks only room in the queue, and admission looks by itself.
CREATE FUNCTION rota.announce_turn() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.agent_runs
               WHERE schedule_id = NEW.schedule_id AND status = 'waiting')
       OR (NEW.queued_at IS NOT NULL
           AND (EXISTS (SELECT FROM rota.limits WHERE max_concurrency IS NOT NULL)
                OR EXISTS (SELECT FROM public.agent_configurations
                           WHERE agent_name = NEW.agent_name AND max_concurrency IS NOT NULL
                             AND is_active AND user_id IS NULL))
           AND EXISTS (SELECT FROM public.agent_runs WHERE status = 'waiting'))
       OR (NEW.queued_at IS NOT NULL
           AND (EXISTS (SELECT FROM public.user_limits
                        WHERE max_concurrency IS NOT NULL
                          AND (user_id = NEW.user_id OR user_id IS NULL))
                OR EXISTS (SELECT FROM public.agent_configurations
                           WHERE agent_name = NEW.agent_name AND max_concurrency IS NOT NULL
                             AND is_active AND user_id = NEW.user_id))
           AND EXISTS (SELECT FROM public.agent_runs
                       WHERE user_id = NEW.user_id AND status = 'waiting'))
    THEN
        PERFORM pg_notify('rota_wake', 'runs');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER announce_turn AFTER UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (NEW.status IN ('finished', 'cancelled') AND OLD.status <> NEW.status)
    EXECUTE FUNCTION rota.announce_turn();

-- "Run now" goes before what is scheduled, twenty times a minute for each person: whoever asks ten
-- thousand times stands in line with the rest, and not before other people's schedules.
CREATE FUNCTION rota.bound_urgency() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    IF (SELECT count(*) FROM (
            SELECT FROM public.agent_runs
            WHERE user_id = NEW.user_id AND priority > 0
              AND created_at > now() - interval '1 minute'
            LIMIT 20
        ) AS latest) >= 20 THEN
        NEW.priority := 0;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER bound_urgency BEFORE INSERT ON public.agent_runs
    FOR EACH ROW WHEN (NEW.priority > 0) EXECUTE FUNCTION rota.bound_urgency();

-- Buffered runs of a schedule that is deleted never start; runs under way end as they would.
CREATE FUNCTION rota.cancel_waiting_runs() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    UPDATE public.agent_runs
    SET status = 'cancelled', finished_at = now(), cancel_reason = 'its schedule was removed'
    WHERE schedule_id = OLD.id AND status = 'waiting';
    RETURN OLD;
END
$$;
CREATE TRIGGER cancel_waiting_runs BEFORE DELETE ON public.agent_schedules
    FOR EACH ROW EXECUTE FUNCTION rota.cancel_waiting_runs();

SELECT rota.keep_to_backend('public.agent_runs');
SELECT rota.keep_to_backend('public.agent_run_steps');
SELECT rota.keep_to_backend('public.usage_days');
SELECT rota.keep_to_backend('public.user_limits');
SELECT rota.keep_to_backend('rota.limits');

-- A person reads what is theirs, and writes through the functions below.
GRANT SELECT ON public.agent_runs TO authenticated;
CREATE POLICY reads_own ON public.agent_runs FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.agent_run_steps TO authenticated;
CREATE POLICY reads_own ON public.agent_run_steps FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.usage_days TO authenticated;
CREATE POLICY reads_own ON public.usage_days FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.user_limits TO authenticated;
CREATE POLICY reads_own_and_everybodys ON public.user_limits FOR SELECT TO authenticated
    USING (user_id IS NULL OR user_id = (SELECT auth.uid()));

-- Asks the unfinished runs of a schedule to stop: what has not begun ends here; what is under way
-- ends on its worker, and a parked one goes on to end, both with what they have. A backfill is left
-- alone: it does not compete with the present.
CREATE FUNCTION rota.cancel_runs(of_schedule uuid, why text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
DECLARE
    asked integer;
BEGIN
    UPDATE public.agent_runs AS r
    SET cancel_requested_at = now(),
        cancel_reason = why,
        status = CASE WHEN r.status IN ('running', 'suspended') THEN r.status
                      ELSE 'cancelled' END,
        finished_at = CASE WHEN r.status IN ('running', 'suspended') THEN NULL ELSE now() END
    WHERE r.schedule_id = of_schedule AND rota.is_unfinished(r)
      AND r.cancel_requested_at IS NULL AND r.trigger <> 'backfill';
    GET DIAGNOSTICS asked = ROW_COUNT;
    RETURN asked;
END
$$;

-- "Run now", for a person: writes a waiting run and nothing else.
CREATE FUNCTION public.request_run(
    agent_name text, prompt text DEFAULT '', options jsonb DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    new_id uuid;
BEGIN
    IF caller IS NULL THEN
        RAISE EXCEPTION 'sign in first' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO public.agent_runs (user_id, agent_name, prompt, trigger, priority, options)
    VALUES (caller, request_run.agent_name, coalesce(request_run.prompt, ''), 'manual', 100,
            request_run.options)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;

-- "Run now" for a schedule, under its overlap policy or another one. The lock on the schedule's row
-- puts it in line with the schedulers. Raises object_in_use where the policy lets nothing start.
CREATE FUNCTION public.request_schedule_run(
    schedule_id uuid, prompt text DEFAULT NULL, overlap text DEFAULT NULL,
    options jsonb DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    wanted_schedule public.agent_schedules%ROWTYPE;
    policy text;
    start text;
    new_id uuid;
BEGIN
    SELECT * INTO wanted_schedule FROM public.agent_schedules AS s
    WHERE s.id = request_schedule_run.schedule_id AND s.user_id = caller
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such schedule' USING ERRCODE = 'no_data_found';
    END IF;
    policy := coalesce(request_schedule_run.overlap, wanted_schedule.overlap_policy);
    SELECT o.start INTO start FROM rota.judge_overlap(wanted_schedule.id, policy) AS o;
    IF start IS NULL THEN
        RAISE EXCEPTION 'no such overlap policy' USING ERRCODE = 'invalid_parameter_value';
    ELSIF start = 'skip' THEN
        RAISE EXCEPTION 'a run of this schedule is under way' USING ERRCODE = 'object_in_use';
    ELSIF start = 'cancel_and_run' THEN
        PERFORM rota.cancel_runs(wanted_schedule.id, 'a run was asked for in its place');
    END IF;
    INSERT INTO public.agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, priority, is_serial, options)
    VALUES (wanted_schedule.user_id, wanted_schedule.id, wanted_schedule.agent_name,
            coalesce(request_schedule_run.prompt, wanted_schedule.prompt, ''), 'manual', 100,
            policy <> 'allow_all', request_schedule_run.options)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;

-- Backfill: runs for past fire times that have none. The occurrence says that it was backfilled,
-- and what it was before.
CREATE FUNCTION public.request_backfill(
    schedule_id uuid, fire_times timestamptz[], overlap text DEFAULT 'buffer_all'
) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    wanted_schedule public.agent_schedules%ROWTYPE;
BEGIN
    SELECT * INTO wanted_schedule FROM public.agent_schedules AS s
    WHERE s.id = request_backfill.schedule_id AND s.user_id = caller
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such schedule' USING ERRCODE = 'no_data_found';
    END IF;
    IF overlap NOT IN ('buffer_all', 'allow_all') OR cardinality(fire_times) > 1000
       OR EXISTS (SELECT FROM unnest(fire_times) AS t WHERE t IS NULL OR t > now()) THEN
        RAISE EXCEPTION 'at most 1000 fire times, none in the future; overlap buffer_all or allow_all'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A range row that begins with a wanted fire time begins just after it from now on.
    UPDATE public.schedule_occurrences AS o
    SET fire_time = o.fire_time + interval '1 microsecond',
        fire_count = nullif(o.fire_count - 1, 0)
    WHERE o.schedule_id = wanted_schedule.id AND o.fire_time = ANY (fire_times)
      AND o.last_fire_time > o.fire_time;
    RETURN QUERY
    WITH wanted AS (
        SELECT DISTINCT t AS fire_time, gen_random_uuid() AS run_id FROM unnest(fire_times) AS t
    ), free AS (
        SELECT DISTINCT ON (w.fire_time) w.fire_time, w.run_id, o.outcome AS was
        FROM wanted AS w
        LEFT JOIN public.schedule_occurrences AS o
            ON o.schedule_id = wanted_schedule.id AND o.fire_time = w.fire_time
        WHERE o.fire_time IS NULL OR (o.outcome <> 'fired' AND o.last_fire_time IS NULL)
    ), runs AS (
        INSERT INTO public.agent_runs
            (id, user_id, schedule_id, fire_time, agent_name, prompt, trigger, priority, is_serial)
        SELECT f.run_id, wanted_schedule.user_id, wanted_schedule.id, f.fire_time,
               wanted_schedule.agent_name, coalesce(wanted_schedule.prompt, ''), 'backfill', -10,
               overlap <> 'allow_all'
        FROM free AS f
        RETURNING id, agent_runs.fire_time
    ), noted AS (
        INSERT INTO public.schedule_occurrences
            (schedule_id, fire_time, user_id, outcome, reason, run_id)
        SELECT wanted_schedule.id, f.fire_time, wanted_schedule.user_id, 'fired',
               'backfilled' || coalesce('; it was ' || f.was || ' before', ''), f.run_id
        FROM free AS f
        ON CONFLICT ON CONSTRAINT schedule_occurrences_pkey DO UPDATE
        SET outcome = EXCLUDED.outcome,
            reason = EXCLUDED.reason || ': ' || schedule_occurrences.reason,
            run_id = EXCLUDED.run_id
    )
    SELECT r.id FROM runs AS r ORDER BY r.fire_time;
END
$$;

-- Cancelling a run, for a person: what has not begun ends here; what is under way is asked to stop,
-- and its worker stores what there is; a parked run goes on to end with what it has. Returns the
-- run's status.
CREATE FUNCTION public.request_cancel(run_id uuid, note text DEFAULT NULL) RETURNS text
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

-- The same run once more, for a person: a new run with what the first of its kind was asked, so
-- that it is retried by itself as often as that one was to be.
CREATE FUNCTION public.request_retry(run_id uuid) RETURNS uuid
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

COMMENT ON FUNCTION public.request_run(text, text, jsonb) IS
    'Asks for a run of an agent now: writes a waiting run and returns its id';
COMMENT ON FUNCTION public.request_schedule_run(uuid, text, text, jsonb) IS
    'Asks for a run of a schedule now, under its overlap policy or another one; returns its id. Raises '
    'object_in_use where the policy lets nothing start';
COMMENT ON FUNCTION public.request_backfill(uuid, timestamptz[], text) IS
    'Asks for runs at past fire times of a schedule that have none, at most 1000; returns their ids';
COMMENT ON FUNCTION public.request_cancel(uuid, text) IS
    'Asks a run to stop, and returns its status: what has not begun is cancelled at once';
COMMENT ON FUNCTION public.request_retry(uuid) IS
    'Asks for a finished run once more: writes a waiting run and returns its id';

REVOKE ALL ON FUNCTION public.request_run(text, text, jsonb) FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.request_schedule_run(uuid, text, text, jsonb)
    FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.request_backfill(uuid, timestamptz[], text)
    FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.request_cancel(uuid, text) FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.request_retry(uuid) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_run(text, text, jsonb) TO authenticated;
GRANT EXECUTE ON FUNCTION public.request_schedule_run(uuid, text, text, jsonb) TO authenticated;
GRANT EXECUTE ON FUNCTION public.request_backfill(uuid, timestamptz[], text) TO authenticated;
GRANT EXECUTE ON FUNCTION public.request_cancel(uuid, text) TO authenticated;
GRANT EXECUTE ON FUNCTION public.request_retry(uuid) TO authenticated;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.limits_of(uuid), rota.holds_slot(public.agent_runs),
    rota.is_unfinished(public.agent_runs), rota.is_in_line(public.agent_runs),
    rota.judge_overlap(uuid, text), rota.cancel_runs(uuid, text) TO service_role;
