-- Whether `auth.users` is the table that rota makes itself, by its columns: on Supabase it has more.
SELECT NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = 'auth.users'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname NOT IN ('id', 'email', 'created_at'))
