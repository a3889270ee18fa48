-- When an agent fires, what became of each fire time, and the runs that follow from it.

CREATE TABLE public.user_settings (
    user_id uuid PRIMARY KEY DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    time_zone text NOT NULL DEFAULT 'UTC' CHECK (time_zone <> ''), -- IANA name
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.agent_schedules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^\S(.{0,98}\S)?$'),
    agent_name text NOT NULL,
    prompt text, -- NULL: the agent runs on an empty prompt
    cron text NOT NULL CHECK (cron <> ''),
    time_zone text CHECK (time_zone <> ''), -- NULL: the owner's zone, user_settings.time_zone
    result_category text NOT NULL DEFAULT 'agent_result' -- of the notification of a result
        CHECK (result_category IN ('agent_result', 'heartbeat')),
    catch_up_window_seconds integer NOT NULL DEFAULT 3600 CHECK (catch_up_window_seconds >= 0),
    is_active boolean NOT NULL DEFAULT true,
    pause_note text,
    next_fire_at timestamptz, -- NULL while active: the scheduler is to plan it
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, name)
);
CREATE INDEX agent_schedules_due_idx ON public.agent_schedules (next_fire_at)
    WHERE is_active AND next_fire_at IS NOT NULL;
CREATE INDEX agent_schedules_unplanned_idx ON public.agent_schedules (created_at)
    WHERE is_active AND next_fire_at IS NULL;

CREATE TABLE public.agent_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    schedule_id uuid REFERENCES public.agent_schedules (id) ON DELETE SET NULL,
    fire_time timestamptz, -- the instant it was due; NULL for a run that nobody scheduled
    agent_name text NOT NULL,
    prompt text NOT NULL DEFAULT '',
    trigger text NOT NULL
        CHECK (trigger IN ('schedule', 'catch_up', 'manual', 'backfill', 'retry')),
    status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'queued', 'running', 'finished', 'cancelled')),
    priority integer NOT NULL DEFAULT 0,
    session_id text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text,
    attempt integer NOT NULL DEFAULT 0,
    fencing_token bigint, -- of the attempt that may write; NULL before the first
    snapshot jsonb, -- what the first attempt ran with, for later attempts
    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz,
    started_at timestamptz, -- of the first attempt
    finished_at timestamptz
);
CREATE INDEX agent_runs_waiting_idx ON public.agent_runs (user_id, priority DESC, created_at)
    WHERE status = 'waiting';
CREATE INDEX agent_runs_unfinished_idx ON public.agent_runs (status, queued_at)
    WHERE status IN ('queued', 'running');
CREATE INDEX agent_runs_user_idx ON public.agent_runs (user_id, created_at DESC);
CREATE INDEX agent_runs_schedule_idx ON public.agent_runs (schedule_id, created_at DESC);

CREATE TABLE public.schedule_occurrences (
    schedule_id uuid NOT NULL REFERENCES public.agent_schedules (id) ON DELETE CASCADE,
    fire_time timestamptz NOT NULL,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    outcome text NOT NULL CHECK (outcome IN ('fired', 'skipped', 'missed', 'suppressed')),
    reason text NOT NULL DEFAULT '',
    run_id uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL,
    last_fire_time timestamptz, -- of a range row: its last fire time
    fire_count integer DEFAULT 1 CHECK (fire_count >= 1), -- NULL: too many to count
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, fire_time),
    CHECK ((fire_count IS NOT DISTINCT FROM 1) = (last_fire_time IS NULL))
);
CREATE INDEX schedule_occurrences_user_idx ON public.schedule_occurrences (user_id, fire_time DESC);
CREATE INDEX schedule_occurrences_run_idx ON public.schedule_occurrences (run_id);

-- The journal: trace, memory of a resumed attempt and ledger of side effects in one. A model
-- call has call_index -1; its tool calls count from 0.
CREATE TABLE public.agent_run_steps (
    run_id uuid NOT NULL REFERENCES public.agent_runs (id) ON DELETE CASCADE,
    model_step integer NOT NULL CHECK (model_step >= 1),
    call_index integer NOT NULL CHECK (call_index >= -1),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('model', 'tool')),
    name text NOT NULL,
    status text NOT NULL CHECK (status IN ('started', 'finished', 'failed', 'held', 'unknown')),
    attempt integer NOT NULL,
    tool_call_id text,
    request jsonb NOT NULL DEFAULT '{}', -- arguments, or the request's hash for a model call
    response jsonb, -- the message, as LangChain serialises it
    usage jsonb, -- tokens, where the provider says
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (run_id, model_step, call_index)
);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.user_settings
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.agent_schedules
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();

-- A changed rule is planned anew from the present, so a change never fires a past time.
CREATE FUNCTION rota.replan_schedule() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    IF NEW.next_fire_at IS NOT DISTINCT FROM OLD.next_fire_at THEN
        NEW.next_fire_at := NULL;
    END IF;
    IF NEW.is_active AND NOT OLD.is_active THEN
        NEW.pause_note := NULL;
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rota.replan_schedule() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER replan_schedule BEFORE UPDATE ON public.agent_schedules
    FOR EACH ROW
    WHEN (OLD.cron IS DISTINCT FROM NEW.cron
          OR OLD.time_zone IS DISTINCT FROM NEW.time_zone
          OR OLD.is_active IS DISTINCT FROM NEW.is_active)
    EXECUTE FUNCTION rota.replan_schedule();

-- Wakes schedulers: a schedule to plan, a run to admit.
CREATE FUNCTION rota.announce() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    PERFORM pg_notify('rota_wake', TG_ARGV[0]);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rota.announce() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER announce_insert AFTER INSERT ON public.agent_schedules
    FOR EACH ROW WHEN (NEW.is_active) EXECUTE FUNCTION rota.announce('schedules');
CREATE TRIGGER announce_update AFTER UPDATE ON public.agent_schedules
    FOR EACH ROW WHEN (NEW.is_active AND NEW.next_fire_at IS NULL)
    EXECUTE FUNCTION rota.announce('schedules');
CREATE TRIGGER announce_waiting AFTER INSERT ON public.agent_runs
    FOR EACH ROW WHEN (NEW.status = 'waiting') EXECUTE FUNCTION rota.announce('runs');

-- A schedule without a zone of its own follows its owner's.
CREATE FUNCTION rota.follow_time_zone() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    UPDATE public.agent_schedules SET next_fire_at = NULL
    WHERE user_id = NEW.user_id AND time_zone IS NULL AND is_active;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rota.follow_time_zone() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER follow_time_zone AFTER INSERT OR UPDATE OF time_zone ON public.user_settings
    FOR EACH ROW EXECUTE FUNCTION rota.follow_time_zone();

SELECT rota.keep_to_backend('public.user_settings');
SELECT rota.keep_to_backend('public.agent_schedules');
SELECT rota.keep_to_backend('public.agent_runs');
SELECT rota.keep_to_backend('public.schedule_occurrences');
SELECT rota.keep_to_backend('public.agent_run_steps');

GRANT SELECT ON public.user_settings TO authenticated;
GRANT INSERT (user_id, time_zone) ON public.user_settings TO authenticated;
GRANT UPDATE (time_zone) ON public.user_settings TO authenticated;
CREATE POLICY reads_own ON public.user_settings FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY inserts_own ON public.user_settings FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY updates_own ON public.user_settings FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.agent_schedules TO authenticated;
GRANT INSERT (user_id, name, agent_name, prompt, cron, time_zone, result_category,
              catch_up_window_seconds, is_active, pause_note) ON public.agent_schedules TO authenticated;
GRANT UPDATE (name, agent_name, prompt, cron, time_zone, result_category,
              catch_up_window_seconds, is_active, pause_note) ON public.agent_schedules TO authenticated;
CREATE POLICY owns ON public.agent_schedules FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT ON public.agent_runs TO authenticated;
CREATE POLICY reads_own ON public.agent_runs FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.schedule_occurrences TO authenticated;
CREATE POLICY reads_own ON public.schedule_occurrences FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.agent_run_steps TO authenticated;
CREATE POLICY reads_own ON public.agent_run_steps FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- "Run now", for a person: writes a waiting run and nothing else.
CREATE FUNCTION public.request_run(agent_name text, prompt text DEFAULT '') RETURNS uuid
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
    INSERT INTO public.agent_runs (user_id, agent_name, prompt, trigger, priority)
    VALUES (caller, request_run.agent_name, coalesce(request_run.prompt, ''), 'manual', 100)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;

CREATE FUNCTION public.request_schedule_run(schedule_id uuid, prompt text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    new_id uuid;
BEGIN
    INSERT INTO public.agent_runs (user_id, schedule_id, agent_name, prompt, trigger, priority)
    SELECT s.user_id, s.id, s.agent_name, coalesce(request_schedule_run.prompt, s.prompt, ''),
           'manual', 100
    FROM public.agent_schedules AS s
    WHERE s.id = request_schedule_run.schedule_id AND s.user_id = caller
    RETURNING id INTO new_id;
    IF new_id IS NULL THEN
        RAISE EXCEPTION 'no such schedule' USING ERRCODE = 'no_data_found';
    END IF;
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION public.request_run(text, text) FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.request_schedule_run(uuid, text) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_run(text, text) TO authenticated;
GRANT EXECUTE ON FUNCTION public.request_schedule_run(uuid, text) TO authenticated;
