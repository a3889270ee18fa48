-- Whether this role may change rota's schema, or make it where there is none; and who may. A database
-- that a superuser owns goes to `rota_owner`, or else to this role: a superuser should not migrate.
SELECT CASE WHEN n.nspowner IS NULL THEN has_database_privilege(d.oid, 'CREATE')
            ELSE pg_has_role(n.nspowner, 'USAGE') END AS may_migrate,
       coalesce(pg_get_userbyid(n.nspowner), wanted.rolname)::text AS owner,
       d.datname::text AS database,
       n.nspowner IS NULL AND NOT has_database_privilege(wanted.oid, d.oid, 'CREATE')
           AS needs_database
FROM pg_catalog.pg_database AS d
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'rota'
CROSS JOIN LATERAL (
    SELECT r.oid, r.rolname FROM pg_catalog.pg_roles AS r
    WHERE r.oid = d.datdba
       OR r.rolname IN ('rota_owner', current_user) AND r.rolname <> 'rota_backend'
    ORDER BY r.rolsuper, r.oid <> d.datdba, r.rolname <> 'rota_owner'
    LIMIT 1
) AS wanted
WHERE d.datname = current_database()
