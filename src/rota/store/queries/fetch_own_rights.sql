SELECT r.rolname::text AS role, r.rolsuper AS is_superuser, r.rolbypassrls AS is_past_policies,
       coalesce(pg_has_role(r.oid, n.nspowner, 'USAGE'), false) AS owns_schema
FROM pg_catalog.pg_roles AS r
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'rota'
WHERE r.rolname = current_user
