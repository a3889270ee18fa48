-- How many list_notifications finds on all pages.
SELECT count(*)
FROM public.notifications
WHERE (read_at IS NULL OR NOT %(unread_only)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
