-- Kinds of rules, policies, and the history that says why something did or did not run.

ALTER TABLE public.agent_schedules
    ALTER COLUMN cron DROP NOT NULL, -- several expressions are separated by semicolons
    ADD COLUMN every_seconds bigint CHECK (every_seconds BETWEEN 1 AND 316224000),
    ADD COLUMN anchor_at timestamptz, -- what an interval is counted from
    ADD COLUMN instants timestamptz[] CHECK (cardinality(instants) BETWEEN 1 AND 10000),
    ADD COLUMN dst_gap text NOT NULL DEFAULT 'vixie' CHECK (dst_gap IN ('vixie', 'skip', 'shift')),
    ADD COLUMN dst_overlap text NOT NULL DEFAULT 'vixie'
        CHECK (dst_overlap IN ('vixie', 'once', 'twice')),
    ADD COLUMN starts_at timestamptz,
    ADD COLUMN ends_at timestamptz,
    ADD COLUMN max_runs integer CHECK (max_runs >= 1),
    ADD COLUMN jitter_seconds integer NOT NULL DEFAULT 0 CHECK (jitter_seconds BETWEEN 0 AND 86400),
    ADD COLUMN active_hours text CHECK (active_hours <> ''), -- 08:00-12:00, 13:00-18:00
    ADD COLUMN active_days text CHECK (active_days <> ''), -- mon-fri
    ADD COLUMN excluded_days text CHECK (excluded_days <> ''), -- 2026-12-24..2027-01-01
    ADD COLUMN overlap_policy text NOT NULL DEFAULT 'skip' CHECK (overlap_policy IN
        ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all')),
    ADD COLUMN catch_up text NOT NULL DEFAULT 'latest' CHECK (catch_up IN ('latest', 'all')),
    ADD COLUMN pause_after_failures integer CHECK (pause_after_failures >= 1),
    ADD COLUMN next_fire_time timestamptz, -- what next_fire_at is for: earlier by the jitter
    ADD COLUMN plan_from timestamptz NOT NULL DEFAULT now(), -- no fire before this rule was set
    ADD COLUMN paused_at timestamptz, -- until the fires of the pause have their rows
    ADD COLUMN completed_at timestamptz, -- it has no fire left
    ADD COLUMN runs_started integer NOT NULL DEFAULT 0,
    ADD COLUMN failures_in_row integer NOT NULL DEFAULT 0,
    ADD COLUMN revision integer NOT NULL DEFAULT 1,
    ADD CHECK (num_nonnulls(cron, every_seconds, instants) = 1),
    ADD CHECK (ends_at >= starts_at),
    -- A person may write these past rota; no value of theirs may stop a scheduler in its work.
    ADD CHECK (array_ndims(instants) = 1 AND array_position(instants, NULL) IS NULL
               AND '1900-01-01Z' <= ALL (instants) AND '9000-01-01Z' >= ALL (instants)),
    ADD CHECK (starts_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    ADD CHECK (ends_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    ADD CHECK (anchor_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    ADD CHECK (length(cron) <= 10000 AND length(time_zone) <= 100),
    ADD CHECK (length(active_hours) <= 500 AND length(active_days) <= 500),
    ADD CHECK (length(excluded_days) <= 2000);

DROP INDEX public.agent_schedules_unplanned_idx;
CREATE INDEX agent_schedules_unplanned_idx ON public.agent_schedules (created_at)
    WHERE is_active AND next_fire_at IS NULL AND completed_at IS NULL;

GRANT INSERT (every_seconds, anchor_at, instants, dst_gap, dst_overlap, starts_at, ends_at,
              max_runs, jitter_seconds, active_hours, active_days, excluded_days, overlap_policy,
              catch_up, pause_after_failures) ON public.agent_schedules TO authenticated;
GRANT UPDATE (every_seconds, anchor_at, instants, dst_gap, dst_overlap, starts_at, ends_at,
              max_runs, jitter_seconds, active_hours, active_days, excluded_days, overlap_policy,
              catch_up, pause_after_failures) ON public.agent_schedules TO authenticated;

-- A serial run starts only when no other run of its schedule is under way, and those that wait go
-- by priority, then age. A run that is to stop keeps its status until its worker has stored what
-- there is.
ALTER TABLE public.agent_runs
    ADD COLUMN is_serial boolean NOT NULL DEFAULT false,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN cancel_reason text;
CREATE INDEX agent_runs_under_way_idx ON public.agent_runs (schedule_id, created_at)
    WHERE status IN ('waiting', 'queued', 'running');

CREATE VIEW rota.runs_to_admit WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.priority, r.created_at, r.fire_time
FROM public.agent_runs AS r
WHERE r.status = 'waiting'
  AND NOT (r.is_serial AND EXISTS (
      SELECT FROM public.agent_runs AS o
      WHERE o.schedule_id = r.schedule_id AND o.id <> r.id
        AND o.status IN ('waiting', 'queued', 'running')
        AND (o.status <> 'waiting'
             OR (o.is_serial
                 AND (-o.priority, o.created_at, coalesce(o.fire_time, '-infinity'), o.id)
                     < (-r.priority, r.created_at, coalesce(r.fire_time, '-infinity'), r.id)))
        -- Executed by a process of its own, outside the queue: nobody else would ever end it.
        AND NOT (o.status = 'running' AND o.queued_at IS NULL)
  ));
COMMENT ON VIEW rota.runs_to_admit IS 'Waiting runs whose turn in their own schedule has come.';
GRANT SELECT ON rota.runs_to_admit TO service_role;

-- A scheduler queues the runs that it writes itself, and need not be told of them.
DROP TRIGGER announce_waiting ON public.agent_runs;
CREATE TRIGGER announce_waiting AFTER INSERT ON public.agent_runs
    FOR EACH ROW
    WHEN (NEW.status = 'waiting' AND NEW.trigger NOT IN ('schedule', 'catch_up'))
    EXECUTE FUNCTION rota.announce('runs');

-- Wakes schedulers when a run ends that others of its schedule wait for.
CREATE FUNCTION rota.announce_turn() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.agent_runs
               WHERE schedule_id = NEW.schedule_id AND status = 'waiting') THEN
        PERFORM pg_notify('rota_wake', 'runs');
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rota.announce_turn() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER announce_turn AFTER UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (NEW.schedule_id IS NOT NULL AND NEW.status IN ('finished', 'cancelled')
          AND OLD.status <> NEW.status)
    EXECUTE FUNCTION rota.announce_turn();

-- What a schedule was until it was changed: so that it can be said later why it did not run.
CREATE TABLE public.schedule_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id uuid NOT NULL REFERENCES public.agent_schedules (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    changed_at timestamptz NOT NULL DEFAULT now(),
    was jsonb NOT NULL -- the row of agent_schedules that held until then
);
CREATE INDEX schedule_changes_schedule_idx ON public.schedule_changes (schedule_id, changed_at);
CREATE INDEX schedule_changes_user_idx ON public.schedule_changes (user_id);
SELECT rota.keep_to_backend('public.schedule_changes');
GRANT SELECT ON public.schedule_changes TO authenticated;
CREATE POLICY reads_own ON public.schedule_changes FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- A changed rule is planned anew from the present, so a change never fires a past time. A fire
-- that was due already and that no scheduler has taken is missed, and has its row. Where it is due
-- this very moment and the new rule has it too, it fires: planning begins just before it.
DROP TRIGGER replan_schedule ON public.agent_schedules;
CREATE OR REPLACE FUNCTION rota.replan_schedule() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    due_fire timestamptz := coalesce(OLD.next_fire_time, OLD.next_fire_at);
BEGIN
    NEW.next_fire_at := NULL;
    NEW.next_fire_time := NULL;
    NEW.completed_at := NULL;
    NEW.plan_from := now();
    NEW.revision := OLD.revision + 1;
    IF OLD.is_active AND OLD.next_fire_at <= now() THEN
        INSERT INTO public.schedule_occurrences (schedule_id, fire_time, user_id, outcome, reason)
        VALUES (OLD.id, due_fire, OLD.user_id, 'missed',
                'the schedule was ' || CASE WHEN NEW.is_active THEN 'changed' ELSE 'paused' END
                || ' before a scheduler took this fire')
        ON CONFLICT (schedule_id, fire_time) DO NOTHING;
        IF NEW.is_active AND OLD.next_fire_at > now() - interval '5 seconds' THEN
            NEW.plan_from := due_fire - interval '1 microsecond';
        END IF;
    END IF;
    IF OLD.is_active AND NOT NEW.is_active THEN
        NEW.paused_at := now();
    ELSIF NEW.is_active AND NOT OLD.is_active THEN
        NEW.failures_in_row := 0;
    END IF;
    INSERT INTO public.schedule_changes (schedule_id, user_id, was)
    VALUES (OLD.id, OLD.user_id, to_jsonb(OLD));
    RETURN NEW;
END
$$;
CREATE TRIGGER replan_schedule BEFORE UPDATE ON public.agent_schedules
    FOR EACH ROW
    WHEN (OLD.cron IS DISTINCT FROM NEW.cron
          OR OLD.every_seconds IS DISTINCT FROM NEW.every_seconds
          OR OLD.anchor_at IS DISTINCT FROM NEW.anchor_at
          OR OLD.instants IS DISTINCT FROM NEW.instants
          OR OLD.time_zone IS DISTINCT FROM NEW.time_zone
          OR OLD.dst_gap IS DISTINCT FROM NEW.dst_gap
          OR OLD.dst_overlap IS DISTINCT FROM NEW.dst_overlap
          OR OLD.starts_at IS DISTINCT FROM NEW.starts_at
          OR OLD.ends_at IS DISTINCT FROM NEW.ends_at
          OR OLD.max_runs IS DISTINCT FROM NEW.max_runs
          OR OLD.jitter_seconds IS DISTINCT FROM NEW.jitter_seconds
          OR OLD.active_hours IS DISTINCT FROM NEW.active_hours
          OR OLD.active_days IS DISTINCT FROM NEW.active_days
          OR OLD.excluded_days IS DISTINCT FROM NEW.excluded_days
          OR OLD.is_active IS DISTINCT FROM NEW.is_active
          OR (OLD.next_fire_at IS NOT NULL AND NEW.next_fire_at IS NULL
              AND NEW.completed_at IS NULL))
    EXECUTE FUNCTION rota.replan_schedule();

-- An interval keeps the instant it is counted from, whatever is changed or restarted later.
CREATE FUNCTION rota.anchor_interval() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    NEW.anchor_at := coalesce(NEW.anchor_at, NEW.starts_at, now());
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rota.anchor_interval() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER anchor_interval BEFORE INSERT OR UPDATE OF every_seconds, anchor_at
    ON public.agent_schedules
    FOR EACH ROW WHEN (NEW.every_seconds IS NOT NULL AND NEW.anchor_at IS NULL)
    EXECUTE FUNCTION rota.anchor_interval();

-- What a person changes beside the rule counts as a revision too.
CREATE FUNCTION rota.count_revision() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    IF NEW.revision = OLD.revision THEN
        NEW.revision := OLD.revision + 1;
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rota.count_revision() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER count_revision BEFORE UPDATE OF name, agent_name, prompt, result_category,
        catch_up_window_seconds, overlap_policy, catch_up, pause_after_failures
    ON public.agent_schedules
    FOR EACH ROW
    WHEN (ROW (OLD.name, OLD.agent_name, OLD.prompt, OLD.result_category,
               OLD.catch_up_window_seconds, OLD.overlap_policy, OLD.catch_up,
               OLD.pause_after_failures)
          IS DISTINCT FROM
          ROW (NEW.name, NEW.agent_name, NEW.prompt, NEW.result_category,
               NEW.catch_up_window_seconds, NEW.overlap_policy, NEW.catch_up,
               NEW.pause_after_failures))
    EXECUTE FUNCTION rota.count_revision();

DROP TRIGGER announce_update ON public.agent_schedules;
CREATE TRIGGER announce_update AFTER UPDATE ON public.agent_schedules
    FOR EACH ROW
    WHEN (NEW.is_active AND NEW.next_fire_at IS NULL AND NEW.completed_at IS NULL)
    EXECUTE FUNCTION rota.announce('schedules');

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
REVOKE ALL ON FUNCTION rota.cancel_waiting_runs() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER cancel_waiting_runs BEFORE DELETE ON public.agent_schedules
    FOR EACH ROW EXECUTE FUNCTION rota.cancel_waiting_runs();

-- Asks the unfinished runs of a schedule to stop: what has not begun ends here, what is under way
-- is ended by its worker. A backfill is left alone: it does not compete with the present.
CREATE FUNCTION rota.cancel_runs(of_schedule uuid, why text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
DECLARE
    asked integer;
BEGIN
    UPDATE public.agent_runs
    SET cancel_requested_at = now(),
        cancel_reason = why,
        status = CASE WHEN status = 'running' THEN 'running' ELSE 'cancelled' END,
        finished_at = CASE WHEN status = 'running' THEN NULL ELSE now() END
    WHERE schedule_id = of_schedule AND status IN ('waiting', 'queued', 'running')
      AND cancel_requested_at IS NULL AND trigger <> 'backfill'
      AND NOT (status = 'running' AND queued_at IS NULL);
    GET DIAGNOSTICS asked = ROW_COUNT;
    RETURN asked;
END
$$;
REVOKE ALL ON FUNCTION rota.cancel_runs(uuid, text) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.cancel_runs(uuid, text) TO service_role;

-- "Run now", under the schedule's overlap policy or another one. The lock on the schedule's row
-- puts it in line with the schedulers. Raises object_in_use where the policy lets nothing start.
DROP FUNCTION public.request_schedule_run(uuid, text);
CREATE FUNCTION public.request_schedule_run(
    schedule_id uuid, prompt text DEFAULT NULL, overlap text DEFAULT NULL
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
      AND r.trigger <> 'backfill' AND NOT (r.status = 'running' AND r.queued_at IS NULL);
    IF (policy = 'skip' AND under_way > 0) OR (policy = 'buffer_one' AND under_way > 1) THEN
        RAISE EXCEPTION 'a run of this schedule is under way' USING ERRCODE = 'object_in_use';
    END IF;
    IF policy = 'cancel_other' THEN
        PERFORM rota.cancel_runs(wanted_schedule.id, 'a run was asked for in its place');
    END IF;
    INSERT INTO public.agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, priority, is_serial)
    VALUES (wanted_schedule.user_id, wanted_schedule.id, wanted_schedule.agent_name,
            coalesce(request_schedule_run.prompt, wanted_schedule.prompt, ''), 'manual', 100,
            policy <> 'allow_all')
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION public.request_schedule_run(uuid, text, text) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_schedule_run(uuid, text, text) TO authenticated;

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
        SELECT f.run_id, wanted_schedule.user_id, wanted_schedule.id, f.fire_time, wanted_schedule.agent_name,
               coalesce(wanted_schedule.prompt, ''), 'backfill', -10, overlap <> 'allow_all'
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
REVOKE ALL ON FUNCTION public.request_backfill(uuid, timestamptz[], text)
    FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_backfill(uuid, timestamptz[], text) TO authenticated;

CREATE OR REPLACE FUNCTION rota.follow_time_zone() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.time_zone = OLD.time_zone THEN
        RETURN NULL;
    END IF;
    UPDATE public.agent_schedules SET next_fire_at = NULL
    WHERE user_id = NEW.user_id AND time_zone IS NULL AND is_active;
    RETURN NULL;
END
$$;

-- One incident, not a hundred messages: open until it is over, announced once, ended once.
CREATE TABLE public.incidents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('missed_fires', 'scheduler_silent')),
    opened_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    announced_at timestamptz,
    closed_at timestamptz
);
CREATE UNIQUE INDEX incidents_open_idx ON public.incidents (user_id, kind)
    WHERE closed_at IS NULL;
CREATE INDEX incidents_kind_idx ON public.incidents (kind) WHERE closed_at IS NULL;
CREATE INDEX incidents_user_idx ON public.incidents (user_id, opened_at DESC);
SELECT rota.keep_to_backend('public.incidents');
GRANT SELECT ON public.incidents TO authenticated;
CREATE POLICY reads_own ON public.incidents FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE INDEX schedule_occurrences_missed_idx
    ON public.schedule_occurrences (user_id, created_at) WHERE outcome = 'missed';

-- When a scheduler last looked at the clock, for whoever asks whether it still does.
ALTER TABLE rota.processes ADD COLUMN ticked_at timestamptz;

-- What is done once for the whole installation, such as the ping of a dead man's switch.
CREATE TABLE rota.marks (
    name text PRIMARY KEY,
    marked_at timestamptz NOT NULL DEFAULT now()
);
SELECT rota.keep_to_backend('rota.marks');
