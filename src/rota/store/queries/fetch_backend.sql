-- What `rota_backend` may do, and which of the request roles it was not granted. A superuser needs
-- these grants when it is none any more. The owner of the schema grants itself what it needs.
SELECT b.oid IS NOT NULL AS is_there, coalesce(b.rolcanlogin, false) AS may_log_in,
       coalesce(b.rolsuper, false) AS is_superuser,
       coalesce(b.rolbypassrls, false) AS is_past_policies,
       pg_get_userbyid(n.nspowner)::text AS owner,
       NOT coalesce(b.rolsuper, false)
           AND coalesce(pg_has_role(b.oid, n.nspowner, 'USAGE'), false) AS owns_schema,
       ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles AS r
             WHERE r.rolname IN ('anon', 'authenticated', 'service_role')
               AND (b.oid IS NULL OR b.rolsuper OR NOT pg_has_role(
                   b.oid, r.oid,
                   CASE WHEN current_setting('server_version_num')::int >= 160000
                        THEN 'SET' ELSE 'MEMBER' END))
             ORDER BY 1) AS no_member_of
FROM (SELECT) AS here
LEFT JOIN pg_catalog.pg_roles AS b ON b.rolname = 'rota_backend'
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'rota'
