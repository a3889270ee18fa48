-- What is NULL stays as it is; of a new tool it is what the table says of tools that nobody knows.
-- The version counts changes; without a change, no row is written or returned.
INSERT INTO public.tools AS t
    (name, description, read_only, idempotent, risk, default_tier, timeout_seconds, annotations,
     definition_hash)
VALUES (%(name)s, coalesce(%(description)s, ''), coalesce(%(read_only)s, false),
        coalesce(%(idempotent)s, false), coalesce(%(risk)s, 'high'),
        coalesce(%(default_tier)s, 'requires_approval'),
        coalesce(%(timeout_seconds)s::numeric, 60), coalesce(%(annotations)s::jsonb, '{}'),
        nullif(%(definition_hash)s, ''))
ON CONFLICT (name) DO UPDATE
SET description = coalesce(%(description)s, t.description),
    read_only = coalesce(%(read_only)s, t.read_only),
    idempotent = coalesce(%(idempotent)s, t.idempotent),
    risk = coalesce(%(risk)s, t.risk),
    default_tier = coalesce(%(default_tier)s, t.default_tier),
    timeout_seconds = coalesce(%(timeout_seconds)s::numeric, t.timeout_seconds),
    annotations = coalesce(%(annotations)s::jsonb, t.annotations),
    definition_hash = nullif(coalesce(%(definition_hash)s, t.definition_hash), ''),
    version = t.version + 1
WHERE (coalesce(%(description)s, t.description), coalesce(%(read_only)s, t.read_only),
       coalesce(%(idempotent)s, t.idempotent), coalesce(%(risk)s, t.risk),
       coalesce(%(default_tier)s, t.default_tier),
       coalesce(%(timeout_seconds)s::numeric, t.timeout_seconds),
       coalesce(%(annotations)s::jsonb, t.annotations),
       nullif(coalesce(%(definition_hash)s, t.definition_hash), ''))
      IS DISTINCT FROM
      (t.description, t.read_only, t.idempotent, t.risk, t.default_tier, t.timeout_seconds,
       t.annotations, t.definition_hash)
RETURNING xmax = 0 AS is_new
