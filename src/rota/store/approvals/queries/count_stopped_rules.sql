-- Rules that were valid for the declaration of the tool just before this version.
SELECT count(*)
FROM public.approval_rules
WHERE effect = 'allow' AND tool = %(tool)s AND tool_version = %(version)s - 1
  AND (expires_at IS NULL OR expires_at > now()) AND (uses_left IS NULL OR uses_left > 0)
