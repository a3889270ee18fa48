-- Their owners did not decide in time: from now on their deputies may.
UPDATE public.pending_actions AS a SET remind_at = NULL, escalated_at = coalesce(escalated_at, now())
WHERE a.status = 'pending' AND a.remind_at <= now()
RETURNING a.*
