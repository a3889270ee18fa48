-- Actions that expire soon (in two hours, or half of their time) without a warning so far.
WITH soon AS (
    SELECT id FROM public.pending_actions AS a
    WHERE a.status = 'pending' AND a.warned_at IS NULL AND a.expires_at > now()
      AND a.expires_at - least(%(before)s, (a.expires_at - a.created_at) / 2) <= now()
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE public.pending_actions AS a
SET warned_at = now(), escalated_at = coalesce(escalated_at, now())
FROM soon
WHERE a.id = soon.id
RETURNING a.*
