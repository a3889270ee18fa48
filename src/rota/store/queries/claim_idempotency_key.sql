-- Takes a key that is new, or a day old, or left by a request that ended without an answer. Returns
-- no row where somebody else's answer or request stands. What had an effect is left alone, except
-- where it is one run: that is found again.
INSERT INTO rota.idempotency_keys AS k (user_id, key, request, holder, held_until)
VALUES (%(user_id)s, %(key)s, %(request)s, %(holder)s,
        now() + make_interval(secs => %(seconds)s))
ON CONFLICT (user_id, key) DO UPDATE
SET holder = excluded.holder,
    held_until = excluded.held_until,
    request = excluded.request,
    created_at = CASE WHEN k.created_at < now() - make_interval(secs => %(kept)s)
                      THEN now() ELSE k.created_at END,
    has_effect = k.has_effect AND k.created_at >= now() - make_interval(secs => %(kept)s),
    run_id = CASE WHEN k.created_at >= now() - make_interval(secs => %(kept)s) THEN k.run_id END,
    status = NULL,
    answer = NULL
WHERE k.created_at < now() - make_interval(secs => %(kept)s)
   OR (k.status IS NULL AND k.held_until < now() AND k.request = excluded.request
       AND (NOT k.has_effect OR k.run_id IS NOT NULL))
RETURNING run_id
