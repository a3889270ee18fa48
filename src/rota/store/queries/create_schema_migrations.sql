DO $$
BEGIN
    CREATE SCHEMA IF NOT EXISTS rota;
    CREATE TABLE rota.schema_migrations (
        version text PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    GRANT USAGE ON SCHEMA rota TO service_role;
    GRANT SELECT ON rota.schema_migrations TO service_role;
END
$$
