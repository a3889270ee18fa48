UPDATE public.pending_actions
SET status = %(to_status)s, finished_at = now(), result = %(result)s
WHERE id = %(action_id)s AND status = %(from_status)s
  AND (%(token)s::bigint IS NULL OR executing_token = %(token)s)
RETURNING id
