-- Where the sequences of rota's tables, and those of its schema, have come to.
SELECT format('%%I.%%I', s.schemaname, s.sequencename) AS name,
       coalesce(s.last_value, s.start_value) AS value,
       s.last_value IS NOT NULL AS is_called
FROM pg_catalog.pg_sequences AS s
WHERE s.schemaname = 'rota' OR EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.objid = format('%%I.%%I', s.schemaname, s.sequencename)::regclass
      AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
      AND d.refobjid::regclass = ANY(%(tables)s::regclass[]))
ORDER BY 1
