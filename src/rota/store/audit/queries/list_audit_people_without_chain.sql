SELECT DISTINCT a.user_id FROM public.audit_logs AS a
WHERE a.user_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM public.audit_chains AS c WHERE c.user_id = a.user_id)
