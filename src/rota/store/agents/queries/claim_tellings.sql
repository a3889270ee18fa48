-- Each change of what is to be told is given to one caller, who tells it in the same transaction.
WITH due AS (
    SELECT c.id, c.told AS was,
           CASE
               WHEN c.state = 'needs you' OR c.expires_at <= %(now)s THEN 'needs you'
               -- What may pass is told when it has not for long. Who was told to act, was told.
               WHEN c.state = 'broken' AND c.told <> 'needs you'
                    AND c.troubled_since <= %(broken_before)s THEN 'broken'
               WHEN c.state = 'broken' THEN c.told
               WHEN c.expires_at <= %(ends_before)s THEN 'expiring'
               ELSE ''
           END AS is_now
    FROM public.connections AS c
    WHERE c.is_active
      AND (c.state <> 'ok' OR c.told <> '' OR c.expires_at <= %(ends_before)s)
), claimed AS (
    SELECT d.id, d.was, d.is_now
    FROM due AS d
    JOIN public.connections AS c ON c.id = d.id
    WHERE d.is_now <> d.was
    ORDER BY d.id
    LIMIT %(limit)s
    FOR UPDATE OF c SKIP LOCKED
)
UPDATE public.connections AS c
SET told = k.is_now
FROM claimed AS k
WHERE c.id = k.id AND c.told = k.was
RETURNING c.user_id, c.name, c.service AS kind, c.account, c.problem, c.expires_at,
          c.troubled_since, k.was, k.is_now
