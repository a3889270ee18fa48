-- Their owners did not decide in time: from now on their deputies may.
WITH late AS (
    SELECT id FROM public.pending_actions WHERE status = 'pending' AND remind_at <= now()
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE public.pending_actions AS a SET remind_at = NULL, escalated_at = coalesce(escalated_at, now())
FROM late
WHERE a.id = late.id
RETURNING a.*
