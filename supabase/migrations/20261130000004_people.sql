-- Who may run agents, and how much of what a person may have. Sign-ups may be open to anybody, and the
-- keys of the models are the operator's.

-- Whoever has schedules or runs by now goes on; for others the operator says so. NULL: as everybody.
CREATE TABLE rota.people (
    user_id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
    may_run boolean,
    told_at timestamptz -- when they heard that their schedules are paused, as they may not run
);
SELECT rota.keep_to_backend('rota.people');
ALTER TABLE rota.limits ADD COLUMN open_to_all boolean NOT NULL DEFAULT false;
INSERT INTO rota.people (user_id, may_run)
SELECT user_id, true FROM public.agent_schedules UNION SELECT user_id, true FROM public.agent_runs;

-- The one place that says whether a person may run agents.
CREATE FUNCTION rota.may_run_agents(person uuid) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce((SELECT p.may_run FROM rota.people AS p WHERE p.user_id = person),
                    (SELECT l.open_to_all FROM rota.limits AS l));

-- Quotas stand beside the limits: NULL is as everybody has it, in everybody's row as rota.quotas_of
-- says; what `unlimited` names has none.
ALTER TABLE public.user_limits
    ADD COLUMN max_schedules integer CHECK (max_schedules >= 1),
    ADD COLUMN min_interval_seconds integer CHECK (min_interval_seconds >= 1),
    ADD COLUMN max_waiting_runs integer CHECK (max_waiting_runs >= 1),
    ADD COLUMN max_rules integer CHECK (max_rules >= 1),
    ADD COLUMN max_rule_bytes integer CHECK (max_rule_bytes >= 1),
    ADD COLUMN max_notifications integer CHECK (max_notifications >= 1),
    DROP CONSTRAINT user_limits_unlimited_check,
    DROP CONSTRAINT user_limits_check,
    ADD CONSTRAINT user_limits_unlimited_check CHECK (
        unlimited <@ ARRAY['max_concurrency', 'day_tokens', 'day_cost_usd', 'max_schedules',
                           'min_interval_seconds', 'max_waiting_runs', 'max_rules',
                           'max_rule_bytes', 'max_notifications']),
    ADD CONSTRAINT user_limits_everybody_check CHECK (
        user_id IS NOT NULL
        OR NOT unlimited && ARRAY['max_concurrency', 'day_tokens', 'day_cost_usd']),
    ADD CONSTRAINT user_limits_quotas_check CHECK (
        NOT (max_schedules IS NOT NULL AND 'max_schedules' = ANY (unlimited)
             OR min_interval_seconds IS NOT NULL AND 'min_interval_seconds' = ANY (unlimited)
             OR max_waiting_runs IS NOT NULL AND 'max_waiting_runs' = ANY (unlimited)
             OR max_rules IS NOT NULL AND 'max_rules' = ANY (unlimited)
             OR max_rule_bytes IS NOT NULL AND 'max_rule_bytes' = ANY (unlimited)
             OR max_notifications IS NOT NULL AND 'max_notifications' = ANY (unlimited)));
COMMENT ON COLUMN public.user_limits.max_schedules IS 'Schedules; NULL: everybody''s, or 200';
COMMENT ON COLUMN public.user_limits.min_interval_seconds IS
    'Shortest time from one fire of a schedule to the next; NULL: everybody''s, or 10';
COMMENT ON COLUMN public.user_limits.max_waiting_runs IS
    'Runs that wait at a time; NULL: everybody''s, or 1,000';
COMMENT ON COLUMN public.user_limits.max_rules IS 'Approval rules; NULL: everybody''s, or 500';
COMMENT ON COLUMN public.user_limits.max_rule_bytes IS
    'Bytes of the conditions and notes of approval rules in all; NULL: everybody''s, or 1,000,000';
COMMENT ON COLUMN public.user_limits.max_notifications IS
    'Notifications that are kept, the latest; NULL: everybody''s, or 10,000';

-- The quotas that hold for a person, NULL: none; of nobody (NULL) everybody's.
CREATE FUNCTION rota.quotas_of(person uuid)
    RETURNS TABLE (max_schedules integer, min_interval_seconds integer, max_waiting_runs integer,
                   max_rules integer, max_rule_bytes integer, max_notifications integer)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN own.max_schedules IS NOT NULL THEN own.max_schedules
                WHEN 'max_schedules' = ANY (own.unlimited) THEN NULL
                WHEN 'max_schedules' = ANY (every.unlimited) THEN NULL
                ELSE coalesce(every.max_schedules, 200) END,
           CASE WHEN own.min_interval_seconds IS NOT NULL THEN own.min_interval_seconds
                WHEN 'min_interval_seconds' = ANY (own.unlimited) THEN NULL
                WHEN 'min_interval_seconds' = ANY (every.unlimited) THEN NULL
                ELSE coalesce(every.min_interval_seconds, 10) END,
           CASE WHEN own.max_waiting_runs IS NOT NULL THEN own.max_waiting_runs
                WHEN 'max_waiting_runs' = ANY (own.unlimited) THEN NULL
                WHEN 'max_waiting_runs' = ANY (every.unlimited) THEN NULL
                ELSE coalesce(every.max_waiting_runs, 1000) END,
           CASE WHEN own.max_rules IS NOT NULL THEN own.max_rules
                WHEN 'max_rules' = ANY (own.unlimited) THEN NULL
                WHEN 'max_rules' = ANY (every.unlimited) THEN NULL
                ELSE coalesce(every.max_rules, 500) END,
           CASE WHEN own.max_rule_bytes IS NOT NULL THEN own.max_rule_bytes
                WHEN 'max_rule_bytes' = ANY (own.unlimited) THEN NULL
                WHEN 'max_rule_bytes' = ANY (every.unlimited) THEN NULL
                ELSE coalesce(every.max_rule_bytes, 1000000) END,
           CASE WHEN own.max_notifications IS NOT NULL THEN own.max_notifications
                WHEN 'max_notifications' = ANY (own.unlimited) THEN NULL
                WHEN 'max_notifications' = ANY (every.unlimited) THEN NULL
                ELSE coalesce(every.max_notifications, 10000) END
    FROM (SELECT) AS one
    LEFT JOIN public.user_limits AS own ON own.user_id = person
    LEFT JOIN public.user_limits AS every ON every.user_id IS NULL;
END;

-- What is counted is counted by one transaction of a person at a time. Each has a row (user_id NULL:
-- the operator), which nobody locks but the triggers below: who holds their own holds up themselves,
-- and no loop waits for it. It is written, not only locked: a transaction that sees the past
-- (REPEATABLE READ) then fails instead of counting what was.
CREATE TABLE rota.quota_locks (
    user_id uuid UNIQUE NULLS NOT DISTINCT REFERENCES auth.users (id) ON DELETE CASCADE,
    held_by xid8 NOT NULL
);
SELECT rota.keep_to_backend('rota.quota_locks');

CREATE FUNCTION rota.lock_quotas(person uuid) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO rota.quota_locks AS l (user_id, held_by) VALUES (person, pg_current_xact_id())
    ON CONFLICT (user_id) DO UPDATE SET held_by = excluded.held_by
    WHERE l.held_by <> excluded.held_by
$$;

-- Whether two fires of cron expressions may be fewer seconds apart, by the seconds that they name: an
-- expression of five fields has second 0. Read are numbers and `*/n`; whatever else is every second.
CREATE FUNCTION rota.names_seconds_within(cron text, least_gap integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH named AS (
        SELECT DISTINCT second
        FROM regexp_split_to_table(cron, ';') AS expression,
             regexp_split_to_array(btrim(expression, E' \t\r\n'), '[ \t\r\n]+') AS fields,
             regexp_split_to_table(
                 CASE WHEN expression COLLATE "C" ~ '[^ -~\t\r\n]' THEN '*'
                      WHEN cardinality(fields) = 6 THEN fields[1] ELSE '0' END, ',') AS part,
             generate_series(CASE WHEN part ~ '^\d\d?$' THEN part::integer ELSE 0 END,
                             CASE WHEN part ~ '^\d\d?$' THEN part::integer ELSE 59 END,
                             CASE WHEN part ~ '^\*/0*[1-9]\d?$' THEN substr(part, 3)::integer
                                  ELSE 1 END) AS second
    )
    SELECT min(gap) < least(least_gap, 60)
    FROM (SELECT lead(second, 1, 60 + first) OVER (ORDER BY second) - second AS gap
          FROM named, (SELECT min(second) AS first FROM named) AS earliest) AS gaps
$$;

-- Whether the statement is a person's, and not the backend's or the operator's. By its role: the claims
-- of a session of SQL may change from row to row, where a policy has read them once.
CREATE FUNCTION rota.writes_as_person() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT (pg_has_role(current_user, 'service_role', 'MEMBER')
                OR pg_has_role(current_user, (SELECT n.nspowner FROM pg_namespace AS n
                                              WHERE n.nspname = 'rota'), 'MEMBER'))
$$;

-- What people write is looked at once it is there: a policy has let it through by then, so nobody
-- learns by its refusal what another one has.

CREATE FUNCTION rota.bound_schedules() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_new boolean := TG_OP = 'INSERT';
    quotas record;
BEGIN
    IF NEW.is_active AND (is_new OR NOT OLD.is_active) AND NOT rota.may_run_agents(NEW.user_id) THEN
        RAISE EXCEPTION 'you may not run agents here; ask the operator to allow it (rota people allow)'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'may_run_agents';
    END IF;
    SELECT * INTO quotas FROM rota.quotas_of(NEW.user_id);
    IF (is_new OR (NEW.cron, NEW.every_seconds, NEW.instants)
                  IS DISTINCT FROM (OLD.cron, OLD.every_seconds, OLD.instants))
        AND (rota.names_seconds_within(NEW.cron, quotas.min_interval_seconds)
             OR NEW.every_seconds BETWEEN 1 AND quotas.min_interval_seconds - 1
             OR EXISTS (SELECT FROM (SELECT t - lag(t) OVER (ORDER BY t) AS gap
                                     FROM unnest(NEW.instants) AS t) AS g
                        WHERE g.gap > interval '0'
                          AND g.gap < make_interval(secs => quotas.min_interval_seconds)))
    THEN
        RAISE EXCEPTION 'a schedule fires every % seconds at most (quota min_interval_seconds): choose '
            'a longer interval, or ask the operator for a smaller quota', quotas.min_interval_seconds
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF is_new AND quotas.max_schedules IS NOT NULL THEN
        PERFORM rota.lock_quotas(NEW.user_id);
        IF (SELECT count(*) FROM public.agent_schedules AS s WHERE s.user_id = NEW.user_id)
            > quotas.max_schedules THEN
            RAISE EXCEPTION 'you may have % schedules (quota max_schedules): remove one, or ask the '
                'operator for a larger quota', quotas.max_schedules
                USING ERRCODE = 'program_limit_exceeded';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER bound_schedules AFTER INSERT OR UPDATE OF cron, every_seconds, instants, is_active
    ON public.agent_schedules
    FOR EACH ROW WHEN (rota.writes_as_person()) EXECUTE FUNCTION rota.bound_schedules();

-- Runs that a person asks for. Those of their fires are the scheduler's to bound, which waits for no
-- person; the run of an action that was approved is let through, and ends at once where it may not run.
-- Only the functions that read who asks insert these.
CREATE FUNCTION rota.bound_requested_runs() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most integer;
BEGIN
    IF NEW.user_id IS DISTINCT FROM auth.uid() THEN
        RETURN NEW;
    END IF;
    IF NOT rota.may_run_agents(NEW.user_id) THEN
        RAISE EXCEPTION 'you may not run agents here; ask the operator to allow it (rota people allow)'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'may_run_agents';
    END IF;
    SELECT q.max_waiting_runs INTO most FROM rota.quotas_of(NEW.user_id) AS q;
    IF most IS NOT NULL THEN
        PERFORM rota.lock_quotas(NEW.user_id);
        IF (SELECT count(*) FROM (SELECT FROM public.agent_runs AS r
                                  WHERE r.user_id = NEW.user_id AND r.status = 'waiting'
                                  LIMIT most) AS waiting) >= most THEN
            RAISE EXCEPTION '% of your runs may wait at a time (quota max_waiting_runs): come back when '
                'some have begun, cancel some, or ask the operator for a larger quota', most
                USING ERRCODE = 'program_limit_exceeded';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER bound_requested_runs BEFORE INSERT ON public.agent_runs
    FOR EACH ROW WHEN (NEW.trigger IN ('manual', 'backfill', 'retry'))
    EXECUTE FUNCTION rota.bound_requested_runs();
COMMENT ON COLUMN public.schedule_occurrences.outcome IS
    'fired: it led to a run. skipped: the overlap policy, or too many runs waited already. missed: '
    'nobody was there in time. suppressed: days off or inactive hours';

-- Every run reads its owner's rules, so there are not more than it can look at.
CREATE OR REPLACE FUNCTION rota.bound_approval_rules() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    quotas record;
    there record;
BEGIN
    SELECT * INTO quotas FROM rota.quotas_of(NEW.user_id);
    PERFORM rota.lock_quotas(NEW.user_id);
    SELECT count(*) AS rules,
           coalesce(sum(octet_length(r.conditions::text) + octet_length(r.note)), 0) AS bytes
    INTO there
    FROM public.approval_rules AS r WHERE r.user_id IS NOT DISTINCT FROM NEW.user_id;
    IF there.rules > quotas.max_rules THEN
        RAISE EXCEPTION 'there may be % rules (quota max_rules): remove one, or have the quota raised',
            quotas.max_rules USING ERRCODE = 'program_limit_exceeded';
    ELSIF there.bytes > quotas.max_rule_bytes THEN
        RAISE EXCEPTION 'conditions and notes of rules may have % bytes in all (quota max_rule_bytes): '
            'remove a rule, or have the quota raised', quotas.max_rule_bytes
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER bound_rules ON public.approval_rules;
CREATE TRIGGER bound_rules AFTER INSERT ON public.approval_rules
    FOR EACH ROW EXECUTE FUNCTION rota.bound_approval_rules();

-- SPEC-003, AC-8, for those who may run agents: when they link Telegram, or are allowed to run later.
CREATE OR REPLACE FUNCTION rota.add_heartbeat_schedule(owner uuid) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO public.agent_schedules (user_id, name, agent_name, prompt, cron, time_zone, result_category)
    SELECT owner, 'morning-heartbeat', 'orchestrator',
           'Prepare the morning briefing: what in the mailbox needs attention today?',
           '0 7 * * *', NULL, 'heartbeat'
    WHERE rota.may_run_agents(owner)
    ON CONFLICT (user_id, name) DO NOTHING
$$;

CREATE FUNCTION rota.welcome_allowed() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM rota.add_heartbeat_schedule(c.user_id)
    FROM (SELECT DISTINCT u.user_id FROM public.user_channels AS u
          WHERE u.channel = 'telegram' AND u.is_active
            AND (TG_ARGV[0] = 'everybody' OR u.user_id::text = to_jsonb(NEW) ->> 'user_id')) AS c;
    RETURN NULL;
END
$$;
CREATE TRIGGER welcome_allowed_insert AFTER INSERT ON rota.people
    FOR EACH ROW WHEN (NEW.may_run) EXECUTE FUNCTION rota.welcome_allowed('one');
CREATE TRIGGER welcome_allowed_update AFTER UPDATE OF may_run ON rota.people
    FOR EACH ROW WHEN (NEW.may_run AND OLD.may_run IS NOT TRUE)
    EXECUTE FUNCTION rota.welcome_allowed('one');
CREATE TRIGGER welcome_allowed AFTER UPDATE OF open_to_all ON rota.limits
    FOR EACH ROW WHEN (NEW.open_to_all AND NOT OLD.open_to_all)
    EXECUTE FUNCTION rota.welcome_allowed('everybody');

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.may_run_agents(uuid), rota.quotas_of(uuid) TO service_role;
-- Of a constraint and a trigger, whoever writes executes the functions.
GRANT EXECUTE ON FUNCTION rota.is_bounded_json(jsonb, integer) TO authenticated;
GRANT EXECUTE ON FUNCTION rota.writes_as_person() TO authenticated, service_role;
