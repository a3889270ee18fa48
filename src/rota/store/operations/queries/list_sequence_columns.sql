-- The columns of rota's tables that sequences number.
SELECT format('%%I.%%I', n.nspname, s.relname) AS sequence,
       d.refobjid::regclass::text AS table, quote_ident(a.attname) AS column
FROM pg_catalog.pg_depend AS d
JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjid::regclass = ANY(%(tables)s::regclass[])
ORDER BY 1
