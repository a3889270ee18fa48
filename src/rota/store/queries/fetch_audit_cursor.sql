-- What was sealed on this server, what can be by now, and whether there may be anything to seal: an
-- entry of a transaction that was not visible then. Looked at each second, by the index alone. On
-- another server than the cursor's, the transactions' numbers begin anew.
SELECT c.sealed::text, pg_current_snapshot()::text AS visible,
       c.sealed IS NULL
       OR EXISTS (
           SELECT FROM public.audit_logs AS a
           WHERE a.written_in >= pg_snapshot_xmax(c.sealed)
             AND a.written_in < pg_snapshot_xmax(pg_current_snapshot()))
       OR EXISTS (
           SELECT FROM public.audit_logs AS a
           WHERE a.written_in = ANY (ARRAY(SELECT pg_snapshot_xip(c.sealed)))) AS may_be_more
FROM (SELECT CASE WHEN k.server = s.system_identifier THEN k.sealed END AS sealed
      FROM rota.audit_cursor AS k CROSS JOIN pg_control_system() AS s) AS c
