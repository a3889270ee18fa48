SELECT id, kind, host, pid, version, started_at, seen_at, ticked_at, clock_ahead, settings, key_ids,
       url,
       extract(epoch FROM now() - seen_at)::float AS silent_for,
       seen_at > now() - make_interval(secs => %(seconds)s) AS is_alive
FROM rota.processes
ORDER BY is_alive DESC, kind, started_at
