SELECT id, user_id, category, title, body, metadata, run_id, read_at, created_at
FROM public.notifications
WHERE (read_at IS NULL OR NOT %(unread_only)s)
  AND (%(prefix)s::text IS NULL OR starts_with(id::text, %(prefix)s))
ORDER BY created_at DESC, id
LIMIT %(limit)s
