SELECT id, kind, host, pid, version, started_at, seen_at, ticked_at, clock_ahead, settings, key_ids,
       seen_at > now() - make_interval(secs => %(seconds)s) AS is_alive
FROM rota.processes
ORDER BY is_alive DESC, kind, started_at
