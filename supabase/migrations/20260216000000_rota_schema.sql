-- The private schema: what no client may see. `public` holds what people own, under row-level
-- security; `rota` holds the queue, the bookkeeping and the rules' own functions.

CREATE SCHEMA IF NOT EXISTS rota;
REVOKE ALL ON SCHEMA rota FROM PUBLIC;
GRANT USAGE ON SCHEMA rota TO service_role;

-- Fencing: every attempt of a run takes a greater token than any attempt before it.
CREATE SEQUENCE rota.fencing_tokens;
GRANT USAGE ON SEQUENCE rota.fencing_tokens TO service_role;

-- Processes that are alive, for `rota doctor` and for a CLI that wonders whether anybody will
-- take its run.
CREATE TABLE rota.processes (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('scheduler', 'worker')),
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON rota.processes TO service_role;

-- Locks a table in `public` down to the backend; what a person may do is granted afterwards, by
-- policy and by column. Supabase's default privileges hand every new table to anon and
-- authenticated, hence the REVOKE.
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
REVOKE ALL ON FUNCTION rota.keep_to_backend(regclass) FROM PUBLIC, anon, authenticated, service_role;

CREATE FUNCTION rota.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rota.touch_updated_at() FROM PUBLIC, anon, authenticated;
