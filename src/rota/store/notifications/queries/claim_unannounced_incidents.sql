UPDATE public.incidents SET announced_at = now()
WHERE id IN (
    SELECT id FROM public.incidents
    WHERE closed_at IS NULL AND announced_at IS NULL AND kind = %(kind)s
    ORDER BY opened_at
    LIMIT 100
    FOR UPDATE SKIP LOCKED
)
RETURNING id, user_id, opened_at
