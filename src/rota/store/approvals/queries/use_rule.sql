-- Counts one use, if there is one left: of many who try, as many pass as there are.
UPDATE public.approval_rules
SET uses_left = uses_left - 1
WHERE id = %(rule_id)s AND uses_left > 0 AND (expires_at IS NULL OR expires_at > now())
