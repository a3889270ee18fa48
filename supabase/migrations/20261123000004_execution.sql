-- How runs are executed: limits, models to fall back on, options of schedules and runs, what was
-- used, and the state machine of a run, kept by the database itself.

ALTER TABLE public.agent_configurations
    ADD COLUMN limits jsonb NOT NULL DEFAULT '{}' -- per run: seconds, steps, tokens, US dollars
        CHECK (jsonb_typeof(limits) = 'object' AND length(limits::text) <= 2000),
    ADD COLUMN fallback_models text[] NOT NULL DEFAULT '{}' -- tried in order when `model` fails
        CHECK (cardinality(fallback_models) <= 10 AND array_position(fallback_models, NULL) IS NULL);
GRANT INSERT (limits, fallback_models) ON public.agent_configurations TO authenticated;
GRANT UPDATE (limits, fallback_models) ON public.agent_configurations TO authenticated;

ALTER TABLE public.agent_schedules
    ADD COLUMN options jsonb NOT NULL DEFAULT '{}' -- how its runs are executed
        CHECK (jsonb_typeof(options) = 'object' AND length(options::text) <= 100000);
GRANT INSERT (options) ON public.agent_schedules TO authenticated;
GRANT UPDATE (options) ON public.agent_schedules TO authenticated;

DROP TRIGGER count_revision ON public.agent_schedules;
CREATE TRIGGER count_revision BEFORE UPDATE OF name, agent_name, prompt, result_category,
        catch_up_window_seconds, overlap_policy, catch_up, pause_after_failures, options
    ON public.agent_schedules
    FOR EACH ROW
    WHEN (ROW (OLD.name, OLD.agent_name, OLD.prompt, OLD.result_category,
               OLD.catch_up_window_seconds, OLD.overlap_policy, OLD.catch_up,
               OLD.pause_after_failures, OLD.options)
          IS DISTINCT FROM
          ROW (NEW.name, NEW.agent_name, NEW.prompt, NEW.result_category,
               NEW.catch_up_window_seconds, NEW.overlap_policy, NEW.catch_up,
               NEW.pause_after_failures, NEW.options))
    EXECUTE FUNCTION rota.count_revision();

ALTER TABLE public.agent_runs
    ADD COLUMN options jsonb -- of this run alone; over those of its schedule
        CHECK (jsonb_typeof(options) = 'object' AND length(options::text) <= 100000),
    ADD COLUMN IF NOT EXISTS not_before timestamptz, -- it waits until then
    ADD COLUMN retry_of uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL;
CREATE INDEX agent_runs_retry_of_idx ON public.agent_runs (retry_of) WHERE retry_of IS NOT NULL;

-- What waits for its time is in no line yet, and holds up nothing of its schedule.
CREATE OR REPLACE VIEW rota.runs_to_admit WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.priority, r.created_at, r.fire_time
FROM public.agent_runs AS r
WHERE r.status = 'waiting'
  AND (r.not_before IS NULL OR r.not_before <= now())
  AND NOT (r.is_serial AND EXISTS (
      SELECT FROM public.agent_runs AS o
      WHERE o.schedule_id = r.schedule_id AND o.id <> r.id
        AND o.status IN ('waiting', 'queued', 'running')
        AND (o.status <> 'waiting'
             OR (o.is_serial AND (o.not_before IS NULL OR o.not_before <= now())
                 AND (-o.priority, o.created_at, coalesce(o.fire_time, '-infinity'), o.id)
                     < (-r.priority, r.created_at, coalesce(r.fire_time, '-infinity'), r.id)))
        -- Executed by a process of its own, outside the queue: nobody else would ever end it.
        AND NOT (o.status = 'running' AND o.queued_at IS NULL)
  ));

-- A step before the first model call is a pre-check; a callable's steps are its own.
ALTER TABLE public.agent_run_steps
    DROP CONSTRAINT agent_run_steps_model_step_check,
    DROP CONSTRAINT agent_run_steps_kind_check,
    ADD CONSTRAINT agent_run_steps_model_step_check CHECK (model_step >= 0),
    ADD CONSTRAINT agent_run_steps_kind_check CHECK (kind IN ('model', 'tool', 'callable')),
    ADD COLUMN cost_usd numeric CHECK (cost_usd >= 0), -- NULL: no price is known
    ADD COLUMN attempts jsonb; -- of a model call: those that failed before

-- What was used, by day of the owner's zone: in all (schedule_id NULL), and by schedule.
CREATE TABLE public.usage_days (
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    day date NOT NULL,
    schedule_id uuid, -- kept when the schedule goes: what was used was used
    model_calls bigint NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cost_usd numeric NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (user_id, day, schedule_id)
);
SELECT rota.keep_to_backend('public.usage_days');
GRANT SELECT ON public.usage_days TO authenticated;
CREATE POLICY reads_own ON public.usage_days FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

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
REVOKE ALL ON FUNCTION rota.refuse_transition() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER refuse_transition BEFORE UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (NOT CASE OLD.status
              WHEN 'waiting' THEN NEW.status IN ('waiting', 'queued', 'running', 'cancelled')
              WHEN 'queued' THEN NEW.status IN ('queued', 'waiting', 'running', 'cancelled')
              WHEN 'running' THEN NEW.status IN ('running', 'finished')
              ELSE NEW.status = OLD.status
              END)
    EXECUTE FUNCTION rota.refuse_transition();

-- "Run now" with options for this one run.
DROP FUNCTION public.request_run(text, text);
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
REVOKE ALL ON FUNCTION public.request_run(text, text, jsonb) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_run(text, text, jsonb) TO authenticated;

DROP FUNCTION public.request_schedule_run(uuid, text, text);
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
    under_way integer;
    new_id uuid;
BEGIN
    SELECT * INTO wanted_schedule FROM public.agent_schedules AS s
    WHERE s.id = request_schedule_run.schedule_id AND s.user_id = caller
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such schedule' USING ERRCODE = 'no_data_found';
    END IF;
    policy := coalesce(request_schedule_run.overlap, wanted_schedule.overlap_policy);
    IF policy NOT IN ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all') THEN
        RAISE EXCEPTION 'no such overlap policy' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT count(*) INTO under_way FROM public.agent_runs AS r
    WHERE r.schedule_id = wanted_schedule.id AND r.status IN ('waiting', 'queued', 'running')
      AND r.trigger <> 'backfill' AND NOT (r.status = 'running' AND r.queued_at IS NULL)
      AND NOT (r.status = 'waiting' AND coalesce(r.not_before > now(), false));
    IF (policy = 'skip' AND under_way > 0) OR (policy = 'buffer_one' AND under_way > 1) THEN
        RAISE EXCEPTION 'a run of this schedule is under way' USING ERRCODE = 'object_in_use';
    END IF;
    IF policy = 'cancel_other' THEN
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
REVOKE ALL ON FUNCTION public.request_schedule_run(uuid, text, text, jsonb)
    FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_schedule_run(uuid, text, text, jsonb) TO authenticated;

-- The same run once more, for a person: a new run with what the old one was asked.
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
    INSERT INTO public.agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, priority, is_serial, options, retry_of)
    VALUES (earlier.user_id, earlier.schedule_id, earlier.agent_name, earlier.prompt, 'retry', 100,
            earlier.is_serial, earlier.options, earlier.id)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION public.request_retry(uuid) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_retry(uuid) TO authenticated;
