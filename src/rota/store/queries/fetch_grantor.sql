-- Who may grant the request roles (and make the role that gets them): this role, or the schema's owner.
SELECT r.rolname::text
FROM pg_catalog.pg_roles AS r
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'rota'
WHERE (r.rolname = current_user OR r.oid = n.nspowner)
  AND (r.rolsuper
       OR r.rolcreaterole AND current_setting('server_version_num')::int < 160000
       OR (r.rolcreaterole OR NOT %(makes_role)s)
          AND (SELECT bool_and(pg_has_role(r.oid, granted.oid, 'USAGE WITH ADMIN OPTION'))
               FROM pg_catalog.pg_roles AS granted
               WHERE granted.rolname IN ('anon', 'authenticated', 'service_role')))
ORDER BY r.rolname <> current_user
LIMIT 1
