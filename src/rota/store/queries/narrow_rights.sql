-- Where rota made the database itself (auth.uid() is of whoever migrates): what was needed once, and
-- what nobody needs. Names made in pg_temp are a way to mislead functions; roles are made once.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                   WHERE p.oid = pg_catalog.to_regprocedure('auth.uid()')
                     AND pg_catalog.pg_get_userbyid(p.proowner) = current_user) THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_database AS d
               WHERE d.datname = current_database()
                 AND pg_catalog.pg_has_role(d.datdba, 'USAGE')) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles AS r
               WHERE r.rolname = current_user AND r.rolcreaterole AND NOT r.rolsuper) THEN
        BEGIN
            EXECUTE format('ALTER ROLE %I NOCREATEROLE', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL; -- from PostgreSQL 16 on a role may not alter itself: `rota doctor` says who can
        END;
    END IF;
END
$$
