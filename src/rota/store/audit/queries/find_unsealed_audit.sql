-- Entries to seal next: of transactions that were not visible in the snapshot of what is sealed.
-- They are few, or in order; LIMIT 1 keeps the look at what is sealed to them. Where to begin is
-- said once, to the index: `+ 0` keeps the comparison of rows from beginning further back, and a
-- range of one transaction is looked up there however many entries it wrote.
SELECT a.id, a.user_id, a.written_in::text
FROM (
    SELECT n.id, n.user_id, n.written_in FROM public.audit_logs AS n
    WHERE n.written_in >= greatest(pg_snapshot_xmax(%(sealed)s::pg_snapshot), %(written_in)s::xid8)
      AND n.written_in < pg_snapshot_xmax(pg_current_snapshot())
    UNION ALL
    SELECT n.id, n.user_id, n.written_in
    FROM pg_snapshot_xip(%(sealed)s::pg_snapshot) AS x (xid)
    CROSS JOIN LATERAL (
        SELECT o.id, o.user_id, o.written_in FROM public.audit_logs AS o
        WHERE o.written_in >= x.xid AND o.written_in <= x.xid
        OFFSET 0
    ) AS n
    WHERE x.xid >= %(written_in)s::xid8
) AS a
LEFT JOIN LATERAL (
    SELECT true AS yes FROM rota.audit_sealed AS s WHERE s.audit_id = a.id LIMIT 1
) AS s ON true
WHERE (a.written_in, a.id + 0) > (%(written_in)s::xid8, %(audit_id)s) AND s.yes IS NULL
ORDER BY a.written_in, a.id
LIMIT %(limit)s
