-- A page, newest first.
SELECT id, user_id, category, title, body, metadata, run_id, read_at, created_at
FROM public.notifications
WHERE (%(after_at)s::timestamptz IS NULL
       OR (created_at, id) < (%(after_at)s::timestamptz, %(after_id)s::uuid))
  AND (read_at IS NULL OR NOT %(unread_only)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s
