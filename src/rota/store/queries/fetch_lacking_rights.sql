-- What a role lacks to be worked as: memberships in the request roles, then rights on the schema.
-- The owner of the schema needs none.
SELECT current_user::text AS role,
       n.nspname IS NOT NULL AND NOT pg_has_role(n.nspowner, 'USAGE') AS is_other,
       has_schema_privilege(n.oid, 'USAGE') IS TRUE AS may_use,
       ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles AS r
             WHERE r.rolname IN ('anon', 'authenticated', 'service_role')
               AND NOT pg_has_role(r.oid, 'MEMBER')
             ORDER BY 1) AS no_member_of
FROM (SELECT) AS here
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'rota'
