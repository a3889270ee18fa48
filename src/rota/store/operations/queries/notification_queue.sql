-- How full the server's queue of notifications is, and the sessions that have been in a transaction for
-- longest, one of which does not read: as far as this role may see them.
SELECT pg_notification_queue_usage() AS used,
       ARRAY(SELECT a.pid FROM pg_stat_activity AS a
             WHERE a.xact_start < now() - interval '10 seconds' AND a.pid <> pg_backend_pid()
             ORDER BY a.xact_start LIMIT 3) AS pids
