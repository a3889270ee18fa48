-- What the database still allows and rota does not need, each with the statement that ends it.
SELECT format('PUBLIC may make temporary objects, whose names mislead functions. Run as its owner: '
              'REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', d.datname)
FROM pg_database AS d
CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS granted
WHERE d.datname = current_database() AND granted.grantee = 0
  AND granted.privilege_type = 'TEMPORARY'
UNION ALL
SELECT format('%1$s, which owns the schema, may make roles, and needs it no more. Run as a superuser: '
              'ALTER ROLE %1$I NOCREATEROLE', r.rolname)
FROM pg_namespace AS n
JOIN pg_roles AS r ON r.oid = n.nspowner AND r.rolcreaterole AND NOT r.rolsuper
WHERE n.nspname = 'rota'
  AND n.nspowner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'auth')
