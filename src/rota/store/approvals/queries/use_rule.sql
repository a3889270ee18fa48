-- Counts one use if one is left. Concurrent calls never use more than are left.
UPDATE public.approval_rules
SET uses_left = uses_left - 1
WHERE id = %(rule_id)s AND uses_left > 0 AND (expires_at IS NULL OR expires_at > now())
