-- What was sealed on this server, what can be by now, and whether there may be anything to seal: an
-- entry of a transaction that was not visible then. Looked at each second: the first entry from a
-- transaction on is in the index, however many one wrote. On another server than the cursor's, the
-- transactions' numbers begin anew.
SELECT c.sealed::text, pg_current_snapshot()::text AS visible,
       c.sealed IS NULL
       OR coalesce((SELECT a.written_in FROM public.audit_logs AS a
                    WHERE a.written_in >= pg_snapshot_xmax(c.sealed)
                    ORDER BY a.written_in LIMIT 1) < pg_snapshot_xmax(pg_current_snapshot()), false)
       OR EXISTS (
           SELECT FROM pg_snapshot_xip(c.sealed) AS x (xid)
           WHERE x.xid = (SELECT a.written_in FROM public.audit_logs AS a
                          WHERE a.written_in >= x.xid
                          ORDER BY a.written_in LIMIT 1)) AS may_be_more,
       c.stuck
FROM (SELECT CASE WHEN k.server = s.system_identifier THEN k.sealed END AS sealed, k.stuck
      FROM rota.audit_cursor AS k CROSS JOIN pg_control_system() AS s) AS c
