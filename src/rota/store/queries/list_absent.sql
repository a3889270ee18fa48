SELECT wanted FROM unnest(%(relations)s::text[]) AS wanted
WHERE to_regclass(wanted) IS NULL
UNION ALL
SELECT wanted || '()' FROM unnest(%(functions)s::text[]) AS wanted
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname || '.' || p.proname = wanted
)
