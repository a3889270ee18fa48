-- Returns true to only one caller in each period.
INSERT INTO rota.marks (name) VALUES (%(name)s)
ON CONFLICT (name) DO UPDATE SET marked_at = now()
WHERE rota.marks.marked_at < now() - make_interval(secs => %(seconds)s)
RETURNING true
