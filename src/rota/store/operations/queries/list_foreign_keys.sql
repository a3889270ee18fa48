SELECT k.conrelid::regclass::text AS table, quote_ident(k.conname) AS name,
       pg_get_constraintdef(k.oid) AS definition
FROM pg_catalog.pg_constraint AS k
WHERE k.contype = 'f' AND k.conrelid = ANY(%(tables)s::regclass[])
ORDER BY 1, 2
