-- How many list_audit finds on all pages.
SELECT count(*)
FROM public.audit_logs AS a
WHERE (%(run)s::text IS NULL OR starts_with(a.run_id::text, %(run)s))
  -- What was held names its request in words where it is from before entries named it.
  AND (%(action)s::text IS NULL OR starts_with(a.action_id::text, %(action)s)
       OR (a.action_id IS NULL AND a.decision = 'held'
           AND starts_with(a.detail, 'pending action ' || %(action)s)))
  AND (%(tool)s::text IS NULL OR a.tool_name = %(tool)s)
  AND (%(since)s::timestamptz IS NULL OR a.called_at >= %(since)s)
