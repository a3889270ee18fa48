SELECT wanted FROM unnest(ARRAY['anon', 'authenticated', 'service_role']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = wanted)
