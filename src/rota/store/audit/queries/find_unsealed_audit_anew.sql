-- Entries to seal next where nothing is known of what is sealed, on a new server: all that are not,
-- whatever their transactions were called on another one.
SELECT a.id, a.user_id, a.written_in::text
FROM public.audit_logs AS a
LEFT JOIN LATERAL (
    SELECT true AS yes FROM rota.audit_sealed AS s WHERE s.audit_id = a.id LIMIT 1
) AS s ON true
WHERE (a.written_in, a.id) > (%(written_in)s::xid8, %(audit_id)s) AND s.yes IS NULL
ORDER BY a.written_in, a.id
LIMIT %(limit)s
