UPDATE public.connections AS c
SET check_at = %(again_at)s
WHERE c.id IN (
    SELECT id FROM public.connections
    WHERE check_at <= %(now)s AND is_active AND key_id = ANY (%(key_ids)s)
      -- Where logins were refused too often, none is tried.
      AND (refused_logins < %(most_refusals)s OR refresh_at IS NOT NULL)
    ORDER BY check_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING c.user_id, c.name
