SELECT k.conrelid::regclass::text AS table, quote_ident(a.attname) AS column
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f' AND k.confrelid = 'auth.users'::regclass
  AND k.conrelid = ANY(%(tables)s::regclass[])
ORDER BY 1, 2
