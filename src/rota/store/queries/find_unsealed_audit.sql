-- Entries to seal next: of transactions that were not visible in the snapshot of what is sealed.
-- They are few, or in order; LIMIT 1 keeps the look at what is sealed to them.
SELECT a.id, a.user_id, a.written_in::text
FROM (
    SELECT n.id, n.user_id, n.written_in FROM public.audit_logs AS n
    WHERE n.written_in >= pg_snapshot_xmax(%(sealed)s::pg_snapshot)
      AND n.written_in < pg_snapshot_xmax(pg_current_snapshot())
    UNION ALL
    SELECT n.id, n.user_id, n.written_in FROM public.audit_logs AS n
    WHERE n.written_in = ANY (ARRAY(SELECT pg_snapshot_xip(%(sealed)s::pg_snapshot)))
) AS a
LEFT JOIN LATERAL (
    SELECT true AS yes FROM rota.audit_sealed AS s WHERE s.audit_id = a.id LIMIT 1
) AS s ON true
WHERE (a.written_in, a.id) > (%(written_in)s::xid8, %(audit_id)s) AND s.yes IS NULL
ORDER BY a.written_in, a.id
LIMIT %(limit)s
