-- All but the latest notifications up to the number kept; locked rows are left for later.
WITH beyond AS MATERIALIZED (
    SELECT id FROM public.notifications
    WHERE user_id = %(user_id)s
    ORDER BY created_at DESC, id DESC
    OFFSET %(kept)s LIMIT %(limit)s
), due AS MATERIALIZED (
    SELECT id FROM public.notifications WHERE id IN (SELECT id FROM beyond)
    FOR UPDATE SKIP LOCKED
)
DELETE FROM public.notifications WHERE id IN (SELECT id FROM due)
