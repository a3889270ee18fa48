WITH gone AS (
    DELETE FROM rota.processes WHERE seen_at < now() - interval '1 day' AND id <> %(id)s
)
INSERT INTO rota.processes (id, kind, host, pid, version)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(version)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now()
