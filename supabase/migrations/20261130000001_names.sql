-- Names in functions mean what they meant when they were written. With an empty search_path the types
-- of pg_temp still come first, where whoever may make a domain there runs code as the function's
-- owner. `pg_catalog, pg_temp` looks there last, and everything else is named with its schema.

DO $$
DECLARE
    altered regprocedure;
BEGIN
    FOR altered IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.proconfig @> ARRAY['search_path=""']
          AND pg_catalog.pg_get_userbyid(p.proowner) = current_user
          AND (p.pronamespace = 'rota'::regnamespace
               OR p.oid = to_regprocedure('auth.uid()')
               OR p.pronamespace = 'public'::regnamespace
                  AND p.proname IN ('request_run', 'request_schedule_run', 'request_backfill',
                                    'request_cancel', 'request_retry', 'decide_action',
                                    'settle_action'))
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', altered);
    END LOOP;
END
$$;
ALTER FUNCTION rota.fn_pgqueuer_changed() SET search_path = pg_catalog, pg_temp;

ALTER FUNCTION rota.announce_turn() RENAME TO announce_ended;
ALTER TRIGGER announce_turn ON public.agent_runs RENAME TO announce_ended;

-- What is inlined where it is used can have no setting; its names are bound here instead.
CREATE OR REPLACE FUNCTION rota.limits_of(person uuid)
    RETURNS TABLE (max_concurrency integer, day_tokens bigint, day_cost_usd numeric)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN 'max_concurrency' = ANY (own.unlimited) THEN NULL
                ELSE coalesce(own.max_concurrency, every.max_concurrency) END,
           CASE WHEN 'day_tokens' = ANY (own.unlimited) THEN NULL
                ELSE coalesce(own.day_tokens, every.day_tokens) END,
           CASE WHEN 'day_cost_usd' = ANY (own.unlimited) THEN NULL
                ELSE coalesce(own.day_cost_usd, every.day_cost_usd) END
    FROM (SELECT) AS one
    LEFT JOIN public.user_limits AS own ON own.user_id = person
    LEFT JOIN public.user_limits AS every ON every.user_id IS NULL;
END;

CREATE OR REPLACE FUNCTION rota.holds_slot(run public.agent_runs) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN run.status = 'queued' OR (run.status = 'running' AND run.queued_at IS NOT NULL);

CREATE OR REPLACE FUNCTION rota.is_unfinished(run public.agent_runs) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN run.status IN ('waiting', 'suspended') OR rota.holds_slot(run);

CREATE OR REPLACE FUNCTION rota.is_in_line(run public.agent_runs) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN run.status = 'waiting' AND (run.not_before IS NULL OR run.not_before <= now());

CREATE OR REPLACE FUNCTION rota.judge_overlap(of_schedule uuid, policy text)
    RETURNS TABLE (start text, since timestamptz, parked boolean)
    LANGUAGE sql STABLE
BEGIN ATOMIC
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
      AND (r.status <> 'waiting' OR rota.is_in_line(r));
END;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
