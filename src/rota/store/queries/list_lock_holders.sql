-- Who has what a session waits for. `since`: when its transaction began or, where it is in none, its
-- last statement ended; NULL of sessions of others, unless one may see it.
SELECT h.pid, a.usename::text AS role, nullif(a.application_name, '') AS application,
       coalesce(a.xact_start, a.state_change) AS since,
       string_agg(DISTINCT CASE w.locktype
           WHEN 'advisory' THEN 'the lock of migrations'
           WHEN 'relation' THEN format('%%s on %%s', h.mode, h.relation::regclass)
           ELSE format('a lock (%%s, %%s)', w.locktype, h.mode) END, ', ') AS held
FROM pg_locks AS w
JOIN pg_locks AS h
    ON h.granted AND h.pid = ANY (pg_blocking_pids(%(pid)s))
    AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid,
         h.classid, h.objid, h.objsubid)
        IS NOT DISTINCT FROM
        (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid,
         w.classid, w.objid, w.objsubid)
LEFT JOIN pg_stat_activity AS a ON a.pid = h.pid
WHERE w.pid = %(pid)s AND NOT w.granted
GROUP BY h.pid, a.usename, a.application_name, a.xact_start, a.state_change
ORDER BY since NULLS LAST, h.pid
