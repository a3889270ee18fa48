-- What changed for a person, so that who looks can follow it live (GET /api/v1/events). Triggers write it,
-- one INSERT for each statement that changed something that a person sees.
--
-- Events are numbered once they are seen committed, by whoever hands them to listeners. A sequence is no
-- order of commits: a reader that has seen 8 would miss 7, which commits later. And to wait until no
-- transaction is open that began before 8 would let one person's open transaction hold up everybody.

CREATE TABLE public.person_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    number bigint,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    subject uuid NOT NULL,
    run_id uuid,
    model_step integer,
    call_index integer,
    status text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE public.person_events IS
    'What changed for a person in the last hour, for those who follow it live: no texts, the thing itself '
    'says more. Without a foreign key, which would cost each step of a run a lookup: those of somebody who '
    'was removed without rota go with the hour';
COMMENT ON COLUMN public.person_events.id IS 'The order in which they were written';
COMMENT ON COLUMN public.person_events.number IS
    'Its place in the order of commits, over all people; NULL until a server has seen it committed';
COMMENT ON COLUMN public.person_events.user_id IS 'Who may see it: whose thing it is, or a deputy';
COMMENT ON COLUMN public.person_events.kind IS
    'run, step, action, notification, schedule, agent or connection';
COMMENT ON COLUMN public.person_events.subject IS
    'The id of that thing; of a step, the one of its run';
COMMENT ON COLUMN public.person_events.run_id IS 'The run that it belongs to; NULL: none';
COMMENT ON COLUMN public.person_events.model_step IS 'Of a step: see agent_run_steps';
COMMENT ON COLUMN public.person_events.call_index IS 'Of a step: see agent_run_steps';
COMMENT ON COLUMN public.person_events.status IS
    'What it is now; created, changed or deleted for what has no status';
COMMENT ON COLUMN public.person_events.at IS 'When it was written; it is kept for an hour after that';

-- Only numbered ones are looked up by number, so writing an event touches one index.
CREATE INDEX person_events_new_idx ON public.person_events (id) WHERE number IS NULL;
CREATE UNIQUE INDEX person_events_number_idx ON public.person_events (number)
    WHERE number IS NOT NULL;
CREATE INDEX person_events_user_idx ON public.person_events (user_id, number)
    WHERE number IS NOT NULL;

SELECT rota.keep_to_backend('public.person_events');
REVOKE INSERT ON public.person_events FROM service_role; -- triggers write
GRANT SELECT ON public.person_events TO authenticated;
CREATE POLICY reads_own ON public.person_events FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- One row. Who listens says until when; nobody is notified after that. Events up to `pruned`, and nothing
-- after it, may be gone.
CREATE TABLE rota.event_feed (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    heard_until timestamptz NOT NULL DEFAULT '-infinity',
    pruned bigint NOT NULL DEFAULT 0
);
INSERT INTO rota.event_feed DEFAULT VALUES;
SELECT rota.keep_to_backend('rota.event_feed');
REVOKE INSERT, DELETE ON rota.event_feed FROM service_role;
INSERT INTO rota.locks (name) VALUES ('person_events');
CREATE SEQUENCE rota.person_event_numbers;
REVOKE ALL ON SEQUENCE rota.person_event_numbers FROM PUBLIC, anon, authenticated;
GRANT USAGE ON SEQUENCE rota.person_event_numbers TO service_role;

-- A NOTIFY makes transactions commit one after the other, so it is sent only while somebody listens.
CREATE FUNCTION rota.announce_events() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (SELECT heard_until FROM rota.event_feed) > now() AND pg_notification_queue_usage() < 0.5
    THEN
        PERFORM pg_notify('rota_events', '');
    END IF;
END
$$;

-- Runs, steps and notifications are written many at a time: one INSERT for each statement.

CREATE FUNCTION rota.tell_new_runs() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.person_events (user_id, kind, subject, run_id, status)
    SELECT n.user_id, 'run', n.id, n.id, n.status FROM new_rows AS n;
    IF FOUND THEN
        PERFORM rota.announce_events();
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION rota.tell_changed_runs() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.person_events (user_id, kind, subject, run_id, status)
    SELECT n.user_id, 'run', n.id, n.id, n.status
    FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
    WHERE n.status <> o.status
       OR (n.cancel_requested_at IS NULL) <> (o.cancel_requested_at IS NULL);
    IF FOUND THEN
        PERFORM rota.announce_events();
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION rota.tell_steps() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.person_events
        (user_id, kind, subject, run_id, model_step, call_index, status)
    SELECT n.user_id, 'step', n.run_id, n.run_id, n.model_step, n.call_index, n.status
    FROM new_rows AS n;
    IF FOUND THEN
        PERFORM rota.announce_events();
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION rota.tell_new_notifications() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.person_events (user_id, kind, subject, run_id, status)
    SELECT n.user_id, 'notification', n.id, n.run_id, 'created' FROM new_rows AS n;
    IF FOUND THEN
        PERFORM rota.announce_events();
    END IF;
    RETURN NULL;
END
$$;

-- All else changes one at a time, and seldom: the trigger's arguments are the kind, and what happened.
CREATE FUNCTION rota.tell_change() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO public.person_events (user_id, kind, subject, status)
        VALUES (OLD.user_id, TG_ARGV[0], OLD.id, TG_ARGV[1]);
    ELSE
        INSERT INTO public.person_events (user_id, kind, subject, status)
        VALUES (NEW.user_id, TG_ARGV[0], NEW.id, TG_ARGV[1]);
    END IF;
    PERFORM rota.announce_events();
    RETURN NULL;
END
$$;

-- Deputies see an action from when its owner was too slow on; they do not see its run.
CREATE FUNCTION rota.tell_action() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.person_events (user_id, kind, subject, run_id, status)
    VALUES (NEW.user_id, 'action', NEW.id, NEW.run_id, NEW.status);
    IF NEW.escalated_at IS NOT NULL THEN
        INSERT INTO public.person_events (user_id, kind, subject, status)
        SELECT d.deputy_id, 'action', NEW.id, NEW.status
        FROM public.approval_deputies AS d WHERE d.user_id = NEW.user_id;
    END IF;
    PERFORM rota.announce_events();
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_new AFTER INSERT ON public.agent_runs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rota.tell_new_runs();
CREATE TRIGGER tell_changed AFTER UPDATE ON public.agent_runs
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rota.tell_changed_runs();
CREATE TRIGGER tell_new AFTER INSERT ON public.agent_run_steps
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rota.tell_steps();
CREATE TRIGGER tell_changed AFTER UPDATE ON public.agent_run_steps
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rota.tell_steps();

CREATE TRIGGER tell_new AFTER INSERT ON public.notifications
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rota.tell_new_notifications();
CREATE TRIGGER tell_read AFTER UPDATE OF read_at ON public.notifications
    FOR EACH ROW WHEN (OLD.read_at IS NULL AND NEW.read_at IS NOT NULL)
    EXECUTE FUNCTION rota.tell_change('notification', 'read');

CREATE TRIGGER tell_new AFTER INSERT ON public.pending_actions
    FOR EACH ROW EXECUTE FUNCTION rota.tell_action();
CREATE TRIGGER tell_changed AFTER UPDATE ON public.pending_actions
    FOR EACH ROW WHEN (OLD.status <> NEW.status OR OLD.version <> NEW.version
                       OR OLD.escalated_at IS DISTINCT FROM NEW.escalated_at)
    EXECUTE FUNCTION rota.tell_action();

CREATE TRIGGER tell_new AFTER INSERT ON public.agent_schedules
    FOR EACH ROW EXECUTE FUNCTION rota.tell_change('schedule', 'created');
-- Not that it fired: its run tells that.
CREATE TRIGGER tell_changed AFTER UPDATE ON public.agent_schedules
    FOR EACH ROW
    WHEN (OLD.revision <> NEW.revision
          OR OLD.is_active <> NEW.is_active
          OR OLD.pause_note IS DISTINCT FROM NEW.pause_note
          OR OLD.completed_at IS DISTINCT FROM NEW.completed_at
          OR OLD.cron IS DISTINCT FROM NEW.cron
          OR OLD.every_seconds IS DISTINCT FROM NEW.every_seconds
          OR OLD.anchor_at IS DISTINCT FROM NEW.anchor_at
          OR OLD.instants IS DISTINCT FROM NEW.instants
          OR OLD.time_zone IS DISTINCT FROM NEW.time_zone
          OR OLD.dst_gap <> NEW.dst_gap
          OR OLD.dst_overlap <> NEW.dst_overlap
          OR OLD.starts_at IS DISTINCT FROM NEW.starts_at
          OR OLD.ends_at IS DISTINCT FROM NEW.ends_at
          OR OLD.max_runs IS DISTINCT FROM NEW.max_runs
          OR OLD.jitter_seconds <> NEW.jitter_seconds
          OR OLD.active_hours IS DISTINCT FROM NEW.active_hours
          OR OLD.active_days IS DISTINCT FROM NEW.active_days
          OR OLD.excluded_days IS DISTINCT FROM NEW.excluded_days)
    EXECUTE FUNCTION rota.tell_change('schedule', 'changed');
CREATE TRIGGER tell_deleted AFTER DELETE ON public.agent_schedules
    FOR EACH ROW EXECUTE FUNCTION rota.tell_change('schedule', 'deleted');

-- A shared agent is nobody's own, and tells nobody.
CREATE TRIGGER tell_new AFTER INSERT ON public.agent_configurations
    FOR EACH ROW WHEN (NEW.user_id IS NOT NULL)
    EXECUTE FUNCTION rota.tell_change('agent', 'created');
CREATE TRIGGER tell_changed AFTER UPDATE ON public.agent_configurations
    FOR EACH ROW WHEN (NEW.user_id IS NOT NULL)
    EXECUTE FUNCTION rota.tell_change('agent', 'changed');
CREATE TRIGGER tell_deleted AFTER DELETE ON public.agent_configurations
    FOR EACH ROW WHEN (OLD.user_id IS NOT NULL)
    EXECUTE FUNCTION rota.tell_change('agent', 'deleted');

-- Not that it was used, checked or refreshed.
CREATE TRIGGER tell_new AFTER INSERT ON public.connections
    FOR EACH ROW EXECUTE FUNCTION rota.tell_change('connection', 'created');
CREATE TRIGGER tell_changed AFTER UPDATE ON public.connections
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state OR OLD.is_active <> NEW.is_active OR OLD.account <> NEW.account
          OR OLD.name <> NEW.name OR OLD.problem <> NEW.problem OR OLD.scopes <> NEW.scopes)
    EXECUTE FUNCTION rota.tell_change('connection', 'changed');
CREATE TRIGGER tell_deleted AFTER DELETE ON public.connections
    FOR EACH ROW EXECUTE FUNCTION rota.tell_change('connection', 'deleted');

-- Numbers what is committed and has no number yet, the oldest first; returns how many. An event that was
-- committed before another one was written has the smaller number. All of it is one statement of the
-- caller's, so a server that stalls holds no lock. Rows of a person who is just being removed are passed
-- over.
CREATE FUNCTION rota.number_events(at_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    numbered integer;
BEGIN
    IF NOT EXISTS (SELECT FROM public.person_events WHERE number IS NULL) THEN
        RETURN 0;
    END IF;
    PERFORM FROM rota.locks WHERE name = 'person_events' FOR NO KEY UPDATE;
    UPDATE public.person_events AS e SET number = given.number
    FROM (
        SELECT due.id, nextval('rota.person_event_numbers') AS number
        FROM (
            SELECT id FROM public.person_events WHERE number IS NULL
            ORDER BY id LIMIT at_most FOR NO KEY UPDATE SKIP LOCKED
        ) AS due
    ) AS given
    WHERE e.id = given.id AND e.number IS NULL;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    IF numbered > 0 THEN
        PERFORM rota.announce_events();
    END IF;
    RETURN numbered;
END
$$;

-- Deletes events that were written before a time, the oldest first; returns how many. Those that never
-- got a number take one with them: whoever resumes from before it has missed them, and is told.
CREATE FUNCTION rota.prune_events(before timestamptz, at_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old_numbered integer;
    old_new integer;
    last_number bigint;
BEGIN
    PERFORM FROM rota.locks WHERE name = 'person_events' FOR NO KEY UPDATE;
    WITH oldest AS MATERIALIZED (
        SELECT number, at FROM public.person_events WHERE number IS NOT NULL
        ORDER BY number LIMIT at_most
    ), gone AS (
        DELETE FROM public.person_events AS e USING oldest AS o
        WHERE e.number = o.number AND o.at < before
        RETURNING e.number
    )
    SELECT count(*), max(number) INTO old_numbered, last_number FROM gone;
    WITH oldest AS MATERIALIZED (
        SELECT id, at FROM public.person_events WHERE number IS NULL
        ORDER BY id LIMIT at_most
    ), gone AS (
        DELETE FROM public.person_events AS e USING oldest AS o
        WHERE e.id = o.id AND e.number IS NULL AND o.at < before
        RETURNING e.id
    )
    SELECT count(*) INTO old_new FROM gone;
    IF old_new > 0 THEN
        last_number := nextval('rota.person_event_numbers');
    END IF;
    UPDATE rota.event_feed SET pruned = last_number WHERE pruned < last_number;
    RETURN greatest(old_numbered, old_new);
END
$$;

REVOKE ALL ON FUNCTION rota.announce_events(), rota.tell_new_runs(), rota.tell_changed_runs(),
    rota.tell_steps(), rota.tell_new_notifications(), rota.tell_change(), rota.tell_action(),
    rota.number_events(integer), rota.prune_events(timestamptz, integer)
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.announce_events(), rota.number_events(integer),
    rota.prune_events(timestamptz, integer) TO service_role;
