-- The statement that makes a database for rota in place of this one: with a name that is free, owned
-- as this one is, or by `rota_owner` or this role where a superuser owns this one.
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' TEMPLATE template0',
              free.name, wanted.rolname)
FROM (
    SELECT name
    FROM (SELECT 0 AS n, 'rota' AS name
          UNION ALL SELECT n, 'rota_' || n FROM generate_series(2, 1000) AS n) AS names
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database AS taken WHERE taken.datname = name)
    ORDER BY n
    LIMIT 1
) AS free
CROSS JOIN (
    SELECT r.rolname
    FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
    WHERE d.datname = current_database()
      AND (r.oid = d.datdba
           OR r.rolname IN ('rota_owner', current_user) AND r.rolname <> 'rota_backend')
    ORDER BY r.rolsuper, r.oid <> d.datdba, r.rolname <> 'rota_owner'
    LIMIT 1
) AS wanted
