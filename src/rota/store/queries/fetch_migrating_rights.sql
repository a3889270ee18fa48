-- Whether this role may change rota's schema, or make it where there is none; and who may.
SELECT CASE WHEN n.nspowner IS NULL THEN has_database_privilege(d.oid, 'CREATE')
            ELSE pg_has_role(n.nspowner, 'USAGE') END AS may_migrate,
       pg_get_userbyid(coalesce(n.nspowner, d.datdba))::text AS owner,
       d.datname::text AS database
FROM pg_catalog.pg_database AS d
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'rota'
WHERE d.datname = current_database()
