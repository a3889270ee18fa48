-- Roles that people log in as, to be `authenticated`, and that may stay in a transaction for ever: not
-- rota's own, and not those of PostgREST, which ends each transaction with its request.
SELECT r.rolname
FROM pg_roles AS r
WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user
  AND pg_has_role(r.oid, 'authenticated', 'MEMBER') AND NOT pg_has_role(r.oid, 'service_role', 'MEMBER')
  AND NOT EXISTS (
      SELECT FROM pg_db_role_setting AS s
      CROSS JOIN unnest(s.setconfig) AS setting
      WHERE s.setrole IN (0, r.oid)
        AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND setting LIKE 'idle_in_transaction_session_timeout=%'
  )
ORDER BY r.rolname
