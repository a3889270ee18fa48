-- Whoever migrates, and rota's own login role where there is one, may act as a person. From PostgreSQL
-- 16 on, whoever made a role is a member of it that may not act as it: that is asked for by SET.
SELECT m.rolname::text AS member, r.rolname::text AS role
FROM pg_catalog.pg_roles AS m
CROSS JOIN pg_catalog.pg_roles AS r
WHERE m.rolname IN (current_user, 'rota_backend')
  AND r.rolname IN ('anon', 'authenticated', 'service_role')
  AND NOT pg_has_role(
      m.oid, r.oid,
      CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
ORDER BY 1, 2
