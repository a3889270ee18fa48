-- Tables with rows of a person's, and their columns, as far as people may read them.
SELECT quote_ident(c.relname) AS name,
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND format('%%s.%%s', 'public', c.relname) = ANY(%(made)s)
  AND c.relnamespace = 'public'::regnamespace
  AND has_column_privilege('authenticated', c.oid, a.attnum, 'SELECT')
GROUP BY c.oid, c.relname
HAVING bool_or(a.attname = 'user_id')
ORDER BY c.relname
