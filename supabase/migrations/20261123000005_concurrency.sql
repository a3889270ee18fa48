-- Who may run how much at a time, and whose turn it is.

-- Limits that the operator sets: everybody's (user_id NULL), and those of single persons, column by
-- column. A column that is NULL in a person's row is as everybody has it; one that is named in
-- `unlimited` has no limit for this person, whatever everybody has.
CREATE TABLE public.user_limits (
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE, -- NULL: everybody
    max_concurrency integer CHECK (max_concurrency >= 1), -- runs queued and running at a time
    day_tokens bigint CHECK (day_tokens >= 1), -- input and output, in a day of the person's zone
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
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.user_limits
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
SELECT rota.keep_to_backend('public.user_limits');
GRANT SELECT ON public.user_limits TO authenticated;
CREATE POLICY reads_own_and_everybodys ON public.user_limits FOR SELECT TO authenticated
    USING (user_id IS NULL OR user_id = (SELECT auth.uid()));

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
REVOKE ALL ON FUNCTION rota.limits_of(uuid) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.limits_of(uuid) TO service_role;

-- What holds for all runs of all people together: one row.
CREATE TABLE rota.limits (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    max_concurrency integer CHECK (max_concurrency >= 1) -- NULL: no limit
);
SELECT rota.keep_to_backend('rota.limits');
INSERT INTO rota.limits DEFAULT VALUES;

-- An agent's limit holds over all whose runs are of this very row: a shared agent's over everybody's.
ALTER TABLE public.agent_configurations
    ADD COLUMN max_concurrency integer CHECK (max_concurrency >= 1); -- NULL: no limit
CREATE INDEX agent_configurations_limited_idx ON public.agent_configurations (agent_name)
    WHERE max_concurrency IS NOT NULL;
GRANT INSERT (max_concurrency) ON public.agent_configurations TO authenticated;
GRANT UPDATE (max_concurrency) ON public.agent_configurations TO authenticated;

-- A limit that was raised lets waiting runs in.
CREATE TRIGGER announce_limits AFTER INSERT OR UPDATE OR DELETE ON public.user_limits
    FOR EACH STATEMENT EXECUTE FUNCTION rota.announce('runs');
CREATE TRIGGER announce_limits AFTER UPDATE ON rota.limits
    FOR EACH STATEMENT EXECUTE FUNCTION rota.announce('runs');
CREATE TRIGGER announce_limits AFTER UPDATE ON public.agent_configurations
    FOR EACH ROW
    WHEN (OLD.max_concurrency IS DISTINCT FROM NEW.max_concurrency
          OR OLD.is_active IS DISTINCT FROM NEW.is_active)
    EXECUTE FUNCTION rota.announce('runs');

-- A run's place in the fair order of the queue, set when it is admitted (queries/admit_runs.sql).
ALTER TABLE public.agent_runs
    ADD COLUMN IF NOT EXISTS not_before timestamptz, -- it waits until then
    ADD COLUMN turn bigint;
-- What is queued already keeps its class, at the head of it (engine/turns.py).
UPDATE rota.pgqueuer SET priority = 1000000000 + sign(priority)::integer * 1000000000
WHERE status IN ('queued', 'picked');

-- Waiting runs as admission looks for them: from person and agent to person and agent, and of each
-- only as many as there is room for.
DROP INDEX public.agent_runs_waiting_idx;
CREATE INDEX agent_runs_waiting_idx ON public.agent_runs
    (user_id, agent_name, priority DESC, created_at, fire_time NULLS FIRST, id)
    WHERE status = 'waiting';
CREATE INDEX agent_runs_not_before_idx ON public.agent_runs (not_before)
    WHERE status = 'waiting' AND not_before IS NOT NULL;
CREATE INDEX agent_runs_serial_idx ON public.agent_runs
    (schedule_id, priority DESC, created_at, fire_time NULLS FIRST, id)
    WHERE status = 'waiting' AND is_serial;
DROP INDEX public.agent_runs_under_way_idx;
CREATE INDEX agent_runs_under_way_idx ON public.agent_runs (schedule_id, status)
    WHERE status IN ('waiting', 'queued', 'running');
CREATE INDEX agent_runs_urgent_idx ON public.agent_runs (user_id, created_at)
    WHERE priority > 0;

-- A serial run is admitted when it is the first of its schedule's line and none is under way. What
-- waits for its time is in no line yet.
DROP VIEW rota.runs_to_admit;
CREATE VIEW rota.runs_to_admit WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.agent_name, r.priority, r.created_at, r.fire_time
FROM public.agent_runs AS r
WHERE r.status = 'waiting'
  AND (r.not_before IS NULL OR r.not_before <= now())
  AND CASE
      WHEN NOT r.is_serial THEN true
      WHEN r.id <> (
          SELECT o.id FROM public.agent_runs AS o
          WHERE o.schedule_id = r.schedule_id AND o.status = 'waiting' AND o.is_serial
            AND (o.not_before IS NULL OR o.not_before <= now())
          ORDER BY o.priority DESC, o.created_at, o.fire_time NULLS FIRST, o.id
          LIMIT 1
      ) THEN false
      ELSE NOT EXISTS (
          SELECT FROM public.agent_runs AS o
          WHERE o.schedule_id = r.schedule_id AND o.status IN ('queued', 'running')
            -- Executed by a process of its own, outside the queue: nobody else would ever end it.
            AND NOT (o.status = 'running' AND o.queued_at IS NULL)
      ) END;
COMMENT ON VIEW rota.runs_to_admit IS
    'Waiting runs whose time, and whose turn in their own schedule, has come.';
GRANT SELECT ON rota.runs_to_admit TO service_role;

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
REVOKE ALL ON FUNCTION rota.bound_urgency() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER bound_urgency BEFORE INSERT ON public.agent_runs
    FOR EACH ROW WHEN (NEW.priority > 0) EXECUTE FUNCTION rota.bound_urgency();

-- Wakes schedulers when a run ends that others wait for: of its schedule, or under a limit. Where
-- there is no limit, what waits lacks only room in the queue, and admission looks by itself.
CREATE OR REPLACE FUNCTION rota.announce_turn() RETURNS trigger
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
DROP TRIGGER announce_turn ON public.agent_runs;
CREATE TRIGGER announce_turn AFTER UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (NEW.status IN ('finished', 'cancelled') AND OLD.status <> NEW.status)
    EXECUTE FUNCTION rota.announce_turn();
