-- `changes` is an object of columns. The version counts changes; without one, no row is written.
UPDATE public.tools AS t
SET (description, read_only, idempotent, risk, default_tier, timeout_seconds, brings_outside_text,
     reaches_outside, annotations, definition_hash) = (
        SELECT n.description, n.read_only, n.idempotent, n.risk, n.default_tier, n.timeout_seconds,
               n.brings_outside_text, n.reaches_outside, n.annotations, n.definition_hash
        FROM jsonb_populate_record(t, %(changes)s) AS n),
    version = t.version + %(step)s
WHERE t.name = %(name)s AND jsonb_populate_record(t, %(changes)s) IS DISTINCT FROM t
