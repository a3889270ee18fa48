-- Rota's tables: all of its own schema, and those of `public` that its migrations made.
SELECT format('%%I.%%I', n.nspname, c.relname) AS name,
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns,
       pg_has_role(c.relowner, 'USAGE') AS is_owned
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind = 'r'
  AND (n.nspname = 'rota' OR format('%%s.%%s', n.nspname, c.relname) = ANY(%(made)s))
GROUP BY c.oid, n.nspname, c.relname
ORDER BY 1
