DELETE FROM rota.idempotency_keys
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM rota.idempotency_keys
    WHERE created_at < now() - make_interval(secs => %(kept)s)
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
