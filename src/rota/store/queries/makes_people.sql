-- Whether people are rota's to make: auth.users is that of its own shim, not Supabase's.
SELECT has_table_privilege(c.oid, 'INSERT') AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attname = 'encrypted_password' AND NOT a.attisdropped)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'auth' AND c.relname = 'users'
