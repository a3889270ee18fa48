-- Bounds for whatever people write past rota. It is data from strangers: a scheduler and a worker read
-- it for everybody, and no value may cost others their time, their memory or their turn.

-- JSON that any reader takes: so many characters in all, 32 levels, numbers of 400 characters (the
-- longest double has 309 digits). psycopg reads numbers and levels with Python's own limits, and
-- raises beyond them.
CREATE FUNCTION rota.is_bounded_json(document jsonb, most integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT length(document::text) <= most
       AND NOT jsonb_path_exists(document, 'strict $.**{33}')
       AND NOT EXISTS (
           SELECT FROM jsonb_path_query(document, 'strict $.** ? (@.type() == "number")') AS number
           WHERE length(number::text) > 400)
$$;

-- What is in use already and would not pass: texts are cut, JSON goes back to its default, and a
-- schedule that this changes is paused with the reason.
UPDATE public.agent_schedules
SET agent_name = left(agent_name, 63), prompt = left(prompt, 100000),
    options = CASE WHEN rota.is_bounded_json(options, 100000) THEN options ELSE '{}' END,
    is_active = false, pause_note = 'it held more than a schedule may hold, and was cut'
WHERE length(agent_name) > 63 OR length(prompt) > 100000
   OR NOT rota.is_bounded_json(options, 100000);
UPDATE public.agent_schedules SET pause_note = left(pause_note, 1000) WHERE length(pause_note) > 1000;
UPDATE public.agent_runs
SET agent_name = left(agent_name, 63), prompt = left(prompt, 100000),
    options = CASE WHEN rota.is_bounded_json(options, 100000) THEN options END
WHERE length(agent_name) > 63 OR length(prompt) > 100000
   OR NOT rota.is_bounded_json(options, 100000);
UPDATE public.agent_runs SET fire_time = NULL
WHERE fire_time NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z';
DELETE FROM public.schedule_occurrences
WHERE fire_time NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z';
UPDATE public.agent_configurations
SET description = left(description, 2000), model = left(model, 300),
    system_prompt = left(system_prompt, 200000), is_active = false,
    model_settings = CASE WHEN rota.is_bounded_json(model_settings, 20000) THEN model_settings
                          ELSE '{}' END,
    limits = CASE WHEN rota.is_bounded_json(limits, 2000) THEN limits ELSE '{}' END,
    script = CASE WHEN rota.is_bounded_json(script, 1000000) THEN script END,
    fallback_models = CASE WHEN length(fallback_models::text) <= 3300 THEN fallback_models
                           ELSE '{}' END
WHERE length(description) > 2000 OR length(model) > 300 OR length(system_prompt) > 200000
   OR NOT rota.is_bounded_json(model_settings, 20000) OR NOT rota.is_bounded_json(limits, 2000)
   OR NOT rota.is_bounded_json(script, 1000000) OR length(fallback_models::text) > 3300;
UPDATE public.user_settings SET time_zone = 'UTC' WHERE length(time_zone) > 100;
DELETE FROM public.approval_rules WHERE NOT rota.is_bounded_json(conditions, 10000);
UPDATE public.notifications SET read_at = created_at
WHERE read_at NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z';

ALTER TABLE public.agent_schedules
    ADD CONSTRAINT agent_schedules_bounds_check CHECK (
        length(agent_name) BETWEEN 1 AND 63 AND length(prompt) <= 100000
        AND length(pause_note) <= 1000 AND rota.is_bounded_json(options, 100000));
ALTER TABLE public.agent_runs
    ADD CONSTRAINT agent_runs_bounds_check CHECK (
        length(agent_name) <= 63 AND length(prompt) <= 100000
        AND rota.is_bounded_json(options, 100000)
        AND fire_time BETWEEN '1900-01-01Z' AND '9000-01-01Z');
ALTER TABLE public.schedule_occurrences
    ADD CONSTRAINT schedule_occurrences_bounds_check CHECK (
        fire_time BETWEEN '1900-01-01Z' AND '9000-01-01Z');
ALTER TABLE public.agent_configurations
    ADD CONSTRAINT agent_configurations_bounds_check CHECK (
        length(description) <= 2000 AND length(model) <= 300 AND length(system_prompt) <= 200000
        AND length(fallback_models::text) <= 3300 AND rota.is_bounded_json(limits, 2000)
        AND rota.is_bounded_json(model_settings, 20000) AND rota.is_bounded_json(script, 1000000));
ALTER TABLE public.user_settings
    ADD CONSTRAINT user_settings_bounds_check CHECK (length(time_zone) <= 100);
ALTER TABLE public.approval_rules
    ADD CONSTRAINT approval_rules_bounds_check CHECK (rota.is_bounded_json(conditions, 10000));
ALTER TABLE public.notifications
    ADD CONSTRAINT notifications_bounds_check CHECK (
        read_at BETWEEN '1900-01-01Z' AND '9000-01-01Z');

-- A zone that PostgreSQL does not know, nobody does. What it knows and Python does not (POSIX's
-- `FOO+3`) is caught where it is read.
CREATE FUNCTION rota.refuse_unknown_zone() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM now() AT TIME ZONE NEW.time_zone; -- raises invalid_parameter_value
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse_unknown_zone BEFORE INSERT OR UPDATE OF time_zone ON public.user_settings
    FOR EACH ROW EXECUTE FUNCTION rota.refuse_unknown_zone();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
-- Constraints are checked as whoever writes the row.
GRANT EXECUTE ON FUNCTION rota.is_bounded_json(jsonb, integer) TO authenticated, service_role;
