-- When an agent fires: schedules, their rules and history, days off, and what became of each fire
-- time. What a fire leads to is the next file's.

CREATE TABLE public.user_settings (
    user_id uuid PRIMARY KEY DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    time_zone text NOT NULL DEFAULT 'UTC' CHECK (time_zone <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.user_settings IS 'Settings of a person';
COMMENT ON COLUMN public.user_settings.user_id IS 'The person';
COMMENT ON COLUMN public.user_settings.time_zone IS
    'IANA name; holds for schedules without a zone of their own, and for what is counted by the '
    'day';
COMMENT ON COLUMN public.user_settings.created_at IS 'When the row was made';
COMMENT ON COLUMN public.user_settings.updated_at IS 'When the row was last changed';

-- A person may write these past rota; no value of theirs may stop a scheduler in its work, hence the
-- bounds on texts and times.
CREATE TABLE public.agent_schedules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^\S(.{0,98}\S)?$'),
    agent_name text NOT NULL,
    prompt text,

    -- The rule: one of cron, every_seconds and instants.
    cron text CHECK (cron <> '' AND length(cron) <= 10000),
    every_seconds bigint CHECK (every_seconds BETWEEN 1 AND 316224000), -- ten years
    anchor_at timestamptz CHECK (anchor_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    instants timestamptz[]
        CHECK (cardinality(instants) BETWEEN 1 AND 10000 AND array_ndims(instants) = 1
               AND array_position(instants, NULL) IS NULL
               AND '1900-01-01Z' <= ALL (instants) AND '9000-01-01Z' >= ALL (instants)),
    time_zone text CHECK (time_zone <> '' AND length(time_zone) <= 100),
    dst_gap text NOT NULL DEFAULT 'vixie' CHECK (dst_gap IN ('vixie', 'skip', 'shift')),
    dst_overlap text NOT NULL DEFAULT 'vixie' CHECK (dst_overlap IN ('vixie', 'once', 'twice')),
    starts_at timestamptz CHECK (starts_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    ends_at timestamptz CHECK (ends_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    max_runs integer CHECK (max_runs >= 1),
    jitter_seconds integer NOT NULL DEFAULT 0 CHECK (jitter_seconds BETWEEN 0 AND 86400),
    active_hours text CHECK (active_hours <> '' AND length(active_hours) <= 500),
    active_days text CHECK (active_days <> '' AND length(active_days) <= 500),
    excluded_days text CHECK (excluded_days <> '' AND length(excluded_days) <= 2000),

    -- Policies, and how its runs are executed.
    overlap_policy text NOT NULL DEFAULT 'skip' CHECK (
        overlap_policy IN ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all')),
    catch_up text NOT NULL DEFAULT 'latest' CHECK (catch_up IN ('latest', 'all')),
    catch_up_window_seconds integer NOT NULL DEFAULT 3600 CHECK (catch_up_window_seconds >= 0),
    pause_after_failures integer CHECK (pause_after_failures >= 1),
    result_category text NOT NULL DEFAULT 'agent_result'
        CHECK (result_category IN ('agent_result', 'heartbeat')),
    options jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(options) = 'object' AND length(options::text) <= 100000),

    is_active boolean NOT NULL DEFAULT true,
    pause_note text,
    paused_at timestamptz,
    completed_at timestamptz,

    -- The scheduler's: what is planned, and what was.
    next_fire_at timestamptz,
    next_fire_time timestamptz,
    plan_from timestamptz NOT NULL DEFAULT now(),
    runs_started integer NOT NULL DEFAULT 0,
    failures_in_row integer NOT NULL DEFAULT 0,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),

    UNIQUE (user_id, name),
    UNIQUE (id, user_id), -- for the keys that hold a link to its owner's things
    CONSTRAINT agent_schedules_one_rule_check CHECK (num_nonnulls(cron, every_seconds, instants) = 1),
    CONSTRAINT agent_schedules_ends_after_start_check CHECK (ends_at >= starts_at)
);
COMMENT ON TABLE public.agent_schedules IS
    'When an agent runs by itself. A rule is one of cron, every_seconds and instants';
COMMENT ON COLUMN public.agent_schedules.id IS 'Identifies the schedule';
COMMENT ON COLUMN public.agent_schedules.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.agent_schedules.name IS 'By which its owner knows it';
COMMENT ON COLUMN public.agent_schedules.agent_name IS
    'The agent that runs: the owner''s own, or a shared one';
COMMENT ON COLUMN public.agent_schedules.prompt IS 'What the agent is asked; NULL: an empty prompt';
COMMENT ON COLUMN public.agent_schedules.cron IS
    'Five-field cron expressions, several separated by semicolons, on the clock of `time_zone`';
COMMENT ON COLUMN public.agent_schedules.every_seconds IS
    'Seconds from one fire to the next, counted from anchor_at';
COMMENT ON COLUMN public.agent_schedules.anchor_at IS 'What an interval is counted from';
COMMENT ON COLUMN public.agent_schedules.instants IS 'Single fire times';
COMMENT ON COLUMN public.agent_schedules.time_zone IS 'IANA name; NULL: the owner''s zone';
COMMENT ON COLUMN public.agent_schedules.dst_gap IS
    'Fire times that the clock leaps over: vixie (as Vixie cron does it), skip or shift';
COMMENT ON COLUMN public.agent_schedules.dst_overlap IS
    'Fire times that the clock shows twice: vixie (as Vixie cron does it), once or twice';
COMMENT ON COLUMN public.agent_schedules.starts_at IS 'No fire before it; NULL: no bound';
COMMENT ON COLUMN public.agent_schedules.ends_at IS 'No fire after it; NULL: no bound';
COMMENT ON COLUMN public.agent_schedules.max_runs IS
    'It is over after so many runs; NULL: no bound';
COMMENT ON COLUMN public.agent_schedules.jitter_seconds IS
    'Fires are spread over so many seconds after their time';
COMMENT ON COLUMN public.agent_schedules.active_hours IS
    'Fires outside are suppressed: 08:00-12:00, 13:00-18:00 on the clock of its zone; NULL: at '
    'any hour';
COMMENT ON COLUMN public.agent_schedules.active_days IS
    'Fires on other days are suppressed: mon-fri; NULL: on any day';
COMMENT ON COLUMN public.agent_schedules.excluded_days IS
    'Fires on these days are suppressed: 2026-12-24..2027-01-01';
COMMENT ON COLUMN public.agent_schedules.overlap_policy IS
    'What a fire does while an earlier run is unfinished';
COMMENT ON COLUMN public.agent_schedules.catch_up IS
    'Which missed fires run afterwards: the latest or all';
COMMENT ON COLUMN public.agent_schedules.catch_up_window_seconds IS
    'Missed fires that are older are not caught up';
COMMENT ON COLUMN public.agent_schedules.pause_after_failures IS
    'Failures in a row after which it pauses; NULL: never';
COMMENT ON COLUMN public.agent_schedules.result_category IS
    'Category of the notification of a result';
COMMENT ON COLUMN public.agent_schedules.options IS
    'How its runs are executed: model, limits, retries, contract, pre-check, ...';
COMMENT ON COLUMN public.agent_schedules.is_active IS 'Whether it fires';
COMMENT ON COLUMN public.agent_schedules.pause_note IS 'Why it is paused, for people';
COMMENT ON COLUMN public.agent_schedules.paused_at IS
    'When it was paused; NULL once the fires of the pause have their rows';
COMMENT ON COLUMN public.agent_schedules.completed_at IS 'When it was found that no fire is left';
COMMENT ON COLUMN public.agent_schedules.next_fire_at IS
    'When the scheduler wakes for the next fire, jitter included; NULL while active: it is to be '
    'planned';
COMMENT ON COLUMN public.agent_schedules.next_fire_time IS
    'The fire time that next_fire_at is for: earlier by the jitter';
COMMENT ON COLUMN public.agent_schedules.plan_from IS
    'No fire before it: when the rule was set or changed';
COMMENT ON COLUMN public.agent_schedules.runs_started IS 'Runs that its fires have led to';
COMMENT ON COLUMN public.agent_schedules.failures_in_row IS
    'Runs that failed since the last success';
COMMENT ON COLUMN public.agent_schedules.revision IS
    'Counts changes by a person; an edit of an older revision is refused';
COMMENT ON COLUMN public.agent_schedules.created_at IS 'When the row was made';
COMMENT ON COLUMN public.agent_schedules.updated_at IS 'When the row was last changed';
CREATE INDEX agent_schedules_due_idx ON public.agent_schedules (next_fire_at)
    WHERE is_active AND next_fire_at IS NOT NULL;
CREATE INDEX agent_schedules_unplanned_idx ON public.agent_schedules (created_at)
    WHERE is_active AND next_fire_at IS NULL AND completed_at IS NULL;

-- So that it can be said later why a schedule did not run.
CREATE TABLE public.schedule_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id uuid NOT NULL REFERENCES public.agent_schedules (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    changed_at timestamptz NOT NULL DEFAULT now(),
    was jsonb NOT NULL
);
COMMENT ON TABLE public.schedule_changes IS
    'What a schedule was until it was changed: so that it can be said later why it did not run';
COMMENT ON COLUMN public.schedule_changes.id IS 'Counts up';
COMMENT ON COLUMN public.schedule_changes.schedule_id IS 'The schedule';
COMMENT ON COLUMN public.schedule_changes.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.schedule_changes.changed_at IS 'Until when it was so';
COMMENT ON COLUMN public.schedule_changes.was IS 'The row of agent_schedules that held until then';
CREATE INDEX schedule_changes_schedule_idx ON public.schedule_changes (schedule_id, changed_at);
CREATE INDEX schedule_changes_user_idx ON public.schedule_changes (user_id);
CREATE INDEX schedule_changes_changed_idx ON public.schedule_changes (changed_at);

CREATE TABLE public.schedule_occurrences (
    schedule_id uuid NOT NULL REFERENCES public.agent_schedules (id) ON DELETE CASCADE,
    fire_time timestamptz NOT NULL,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    outcome text NOT NULL CHECK (outcome IN ('fired', 'skipped', 'missed', 'suppressed')),
    reason text NOT NULL DEFAULT '',
    run_id uuid, -- references agent_runs: the next file
    last_fire_time timestamptz,
    fire_count integer DEFAULT 1 CHECK (fire_count >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, fire_time),
    CONSTRAINT schedule_occurrences_range_check
        CHECK ((fire_count IS NOT DISTINCT FROM 1) = (last_fire_time IS NULL))
);
COMMENT ON TABLE public.schedule_occurrences IS
    'What became of each fire time. A row stands for one, or for a range of missed or suppressed '
    'ones';
COMMENT ON COLUMN public.schedule_occurrences.schedule_id IS 'The schedule';
COMMENT ON COLUMN public.schedule_occurrences.fire_time IS
    'The instant it was due, without jitter; of a range, the first';
COMMENT ON COLUMN public.schedule_occurrences.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.schedule_occurrences.outcome IS
    'fired: it led to a run. skipped: the overlap policy. missed: nobody was there in time. '
    'suppressed: days off or inactive hours';
COMMENT ON COLUMN public.schedule_occurrences.reason IS 'Why, for people';
COMMENT ON COLUMN public.schedule_occurrences.run_id IS
    'The run it led to; NULL: none, or it was pruned';
COMMENT ON COLUMN public.schedule_occurrences.last_fire_time IS
    'Last fire time of a range; NULL: the row is of one';
COMMENT ON COLUMN public.schedule_occurrences.fire_count IS
    'Fire times that the row stands for; NULL: too many to count';
COMMENT ON COLUMN public.schedule_occurrences.created_at IS 'When the row was made';
CREATE INDEX schedule_occurrences_user_idx ON public.schedule_occurrences (user_id, fire_time DESC);
CREATE INDEX schedule_occurrences_run_idx ON public.schedule_occurrences (run_id);
CREATE INDEX schedule_occurrences_missed_idx
    ON public.schedule_occurrences (user_id, created_at) WHERE outcome = 'missed';
-- Fire times that led to no run, or whose run is gone; those with a run go together with it.
CREATE INDEX schedule_occurrences_without_run_idx ON public.schedule_occurrences (created_at)
    WHERE run_id IS NULL;

-- Days off. That a person links only their own schedules with their own calendars is a fact of the
-- foreign keys. Days are those that Python's dates know: of the years 1 to 9999.
CREATE TABLE public.calendars (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^\S(.{0,98}\S)?$'),
    source text NOT NULL DEFAULT '' CHECK (length(source) <= 200),
    covers_until date CHECK (covers_until BETWEEN '0001-01-01' AND '9999-12-31'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, name),
    UNIQUE (id, user_id)
);
COMMENT ON TABLE public.calendars IS 'Calendars with days off, from iCalendar files';
COMMENT ON COLUMN public.calendars.id IS 'Identifies the calendar';
COMMENT ON COLUMN public.calendars.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.calendars.name IS 'By which its owner knows it';
COMMENT ON COLUMN public.calendars.source IS 'Name of the file, for people';
COMMENT ON COLUMN public.calendars.covers_until IS
    'Events that recur are expanded until this day; NULL: none recurs';
COMMENT ON COLUMN public.calendars.created_at IS 'When the row was made';
COMMENT ON COLUMN public.calendars.updated_at IS 'When the row was last changed';

CREATE TABLE public.calendar_days (
    calendar_id uuid NOT NULL,
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    first_day date NOT NULL CHECK (first_day >= '0001-01-01'),
    last_day date NOT NULL CHECK (last_day <= '9999-12-31'),
    summary text NOT NULL DEFAULT '' CHECK (length(summary) <= 200),
    PRIMARY KEY (calendar_id, first_day, last_day),
    FOREIGN KEY (calendar_id, user_id) REFERENCES public.calendars (id, user_id) ON DELETE CASCADE,
    CONSTRAINT calendar_days_order_check CHECK (last_day >= first_day)
);
COMMENT ON TABLE public.calendar_days IS 'Days off of a calendar';
COMMENT ON COLUMN public.calendar_days.calendar_id IS 'The calendar';
COMMENT ON COLUMN public.calendar_days.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.calendar_days.first_day IS
    'First day off, without a zone: it is a day of the schedule''s clock';
COMMENT ON COLUMN public.calendar_days.last_day IS 'Last day off, itself included';
COMMENT ON COLUMN public.calendar_days.summary IS
    'What the calendar says of it: the name of a holiday';
CREATE INDEX calendar_days_user_idx ON public.calendar_days (user_id);

-- The key to the calendar is checked at the end of the transaction: so that a calendar in use
-- cannot be removed, and a person with all they have can.
CREATE TABLE public.schedule_calendars (
    schedule_id uuid NOT NULL,
    calendar_id uuid NOT NULL,
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    PRIMARY KEY (schedule_id, calendar_id),
    FOREIGN KEY (schedule_id, user_id) REFERENCES public.agent_schedules (id, user_id)
        ON DELETE CASCADE,
    FOREIGN KEY (calendar_id, user_id) REFERENCES public.calendars (id, user_id)
        DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE public.schedule_calendars IS
    'Which schedule does not fire on the days of which calendar';
COMMENT ON COLUMN public.schedule_calendars.schedule_id IS 'The schedule';
COMMENT ON COLUMN public.schedule_calendars.calendar_id IS 'The calendar';
COMMENT ON COLUMN public.schedule_calendars.user_id IS 'Whose both are';
CREATE INDEX schedule_calendars_calendar_idx ON public.schedule_calendars (calendar_id);
CREATE INDEX schedule_calendars_user_idx ON public.schedule_calendars (user_id);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.user_settings
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.agent_schedules
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.calendars
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();

-- A changed rule is planned anew from the present, so a change never fires a past time. A fire
-- that was due already and that no scheduler has taken is missed, and has its row. Where it is due
-- this very moment and the new rule has it too, it fires: planning begins just before it.
CREATE FUNCTION rota.replan_schedule() RETURNS trigger
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

CREATE TRIGGER announce_insert AFTER INSERT ON public.agent_schedules
    FOR EACH ROW WHEN (NEW.is_active) EXECUTE FUNCTION rota.announce('schedules');
CREATE TRIGGER announce_update AFTER UPDATE ON public.agent_schedules
    FOR EACH ROW
    WHEN (NEW.is_active AND NEW.next_fire_at IS NULL AND NEW.completed_at IS NULL)
    EXECUTE FUNCTION rota.announce('schedules');

-- A schedule without a zone of its own follows its owner's.
CREATE FUNCTION rota.follow_time_zone() RETURNS trigger
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
CREATE TRIGGER follow_time_zone AFTER INSERT OR UPDATE OF time_zone ON public.user_settings
    FOR EACH ROW EXECUTE FUNCTION rota.follow_time_zone();

SELECT rota.keep_to_backend('public.user_settings');
SELECT rota.keep_to_backend('public.agent_schedules');
SELECT rota.keep_to_backend('public.schedule_changes');
SELECT rota.keep_to_backend('public.schedule_occurrences');
SELECT rota.keep_to_backend('public.calendars');
SELECT rota.keep_to_backend('public.calendar_days');
SELECT rota.keep_to_backend('public.schedule_calendars');

GRANT SELECT ON public.user_settings TO authenticated;
GRANT INSERT (user_id, time_zone) ON public.user_settings TO authenticated;
GRANT UPDATE (time_zone) ON public.user_settings TO authenticated;
CREATE POLICY reads_own ON public.user_settings FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY inserts_own ON public.user_settings FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY updates_own ON public.user_settings FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- A person writes the rule and the policies; what is planned is the scheduler's.
GRANT SELECT, DELETE ON public.agent_schedules TO authenticated;
GRANT INSERT (user_id, name, agent_name, prompt, cron, every_seconds, anchor_at, instants, time_zone,
              dst_gap, dst_overlap, starts_at, ends_at, max_runs, jitter_seconds, active_hours,
              active_days, excluded_days, overlap_policy, catch_up, catch_up_window_seconds,
              pause_after_failures, result_category, options, is_active, pause_note)
    ON public.agent_schedules TO authenticated;
GRANT UPDATE (name, agent_name, prompt, cron, every_seconds, anchor_at, instants, time_zone,
              dst_gap, dst_overlap, starts_at, ends_at, max_runs, jitter_seconds, active_hours,
              active_days, excluded_days, overlap_policy, catch_up, catch_up_window_seconds,
              pause_after_failures, result_category, options, is_active, pause_note)
    ON public.agent_schedules TO authenticated;
CREATE POLICY owns ON public.agent_schedules FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT ON public.schedule_changes TO authenticated;
CREATE POLICY reads_own ON public.schedule_changes FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.schedule_occurrences TO authenticated;
CREATE POLICY reads_own ON public.schedule_occurrences FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.calendars TO authenticated;
GRANT INSERT (user_id, name, source, covers_until) ON public.calendars TO authenticated;
GRANT UPDATE (name, source, covers_until) ON public.calendars TO authenticated;
CREATE POLICY owns ON public.calendars FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
GRANT SELECT, DELETE ON public.calendar_days TO authenticated;
GRANT INSERT (calendar_id, user_id, first_day, last_day, summary) ON public.calendar_days
    TO authenticated;
GRANT UPDATE (summary) ON public.calendar_days TO authenticated;
CREATE POLICY owns ON public.calendar_days FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
GRANT SELECT, DELETE ON public.schedule_calendars TO authenticated;
GRANT INSERT (schedule_id, calendar_id, user_id) ON public.schedule_calendars TO authenticated;
CREATE POLICY owns ON public.schedule_calendars FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
