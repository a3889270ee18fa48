-- An edit makes a new version. A decision on the earlier version is refused.
UPDATE public.pending_actions
SET arguments = %(arguments)s, sealed_arguments = %(sealed_arguments)s,
    arguments_hash = %(arguments_hash)s, version = version + 1,
    proposed_arguments = coalesce(proposed_arguments, arguments),
    proposed_hash = coalesce(proposed_hash, arguments_hash)
WHERE id = %(action_id)s AND user_id = %(user_id)s AND status = 'pending'
  AND version = %(version)s AND expires_at > clock_timestamp()
RETURNING version
