WITH gone AS (
    DELETE FROM rota.processes WHERE seen_at < now() - interval '1 day' AND id <> %(id)s
)
INSERT INTO rota.processes (id, kind, host, pid, version, ticked_at, clock_ahead, settings,
                            key_ids, url)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(version)s,
        now() - make_interval(secs => %(ticked_ago)s),
        %(clock)s - extract(epoch FROM clock_timestamp())::float,
        %(settings)s,
        %(key_ids)s,
        %(url)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), ticked_at = EXCLUDED.ticked_at,
    clock_ahead = EXCLUDED.clock_ahead, key_ids = EXCLUDED.key_ids
