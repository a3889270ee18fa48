-- The private schema `rota`, and what every later file uses. `public` holds what people own, under
-- row-level security; `rota` holds the queue, the bookkeeping and the functions of the rules, and
-- no client sees it.
--
-- The files are one schema in the order of their names: rota_schema, agents, schedules, runs, queue,
-- notifications, results and orchestrator (SPEC-003's two), audit, approvals, operations.

CREATE SCHEMA IF NOT EXISTS rota;
REVOKE ALL ON SCHEMA rota FROM PUBLIC;
GRANT USAGE ON SCHEMA rota TO service_role;

-- Locks a table down to the backend; what a person may do is granted afterwards, by policy and by
-- column. Supabase's default privileges hand every new table to anon and authenticated, hence the
-- REVOKE; SPEC-003 lets the role `postgres` do everything, where there is one.
CREATE FUNCTION rota.keep_to_backend(relation regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, anon, authenticated', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO service_role', relation);
    EXECUTE format(
        'CREATE POLICY backend_all ON %s FOR ALL TO service_role USING (true) WITH CHECK (true)',
        relation
    );
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'postgres') THEN
        EXECUTE format(
            'CREATE POLICY postgres_all ON %s FOR ALL TO postgres USING (true) WITH CHECK (true)',
            relation
        );
    END IF;
END
$$;

CREATE FUNCTION rota.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

-- Wakes whoever listens: schedulers for `schedules` (one is to be planned) and `runs` (one is to be
-- admitted). The word is the trigger's argument.
CREATE FUNCTION rota.announce() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    PERFORM pg_notify('rota_wake', TG_ARGV[0]);
    RETURN NULL;
END
$$;

-- PostgreSQL lets everybody execute a new function. Each file ends with this line.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
