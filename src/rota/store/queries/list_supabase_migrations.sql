-- Supabase's CLI keeps names since 2023, in a column that older tables lack.
SELECT m.version, to_jsonb(m) ->> 'name' AS name FROM supabase_migrations.schema_migrations AS m
