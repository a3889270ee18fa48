-- What begins so, a few of each beginning of an id. The first two conditions are for the index.
SELECT wanted.prefix, n.id, n.user_id, n.category, n.title, n.body, n.metadata, n.run_id, n.read_at,
       n.created_at
FROM unnest(%(prefixes)s::text[]) AS wanted (prefix)
CROSS JOIN LATERAL (
    SELECT m.*
    FROM public.notifications AS m
    WHERE m.id >= rpad(replace(wanted.prefix, '-', ''), 32, '0')::uuid
      AND m.id <= rpad(replace(wanted.prefix, '-', ''), 32, 'f')::uuid
      AND starts_with(m.id::text, wanted.prefix)
    ORDER BY m.id
    LIMIT %(limit)s
) AS n
