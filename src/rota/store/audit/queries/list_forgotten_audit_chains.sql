-- Chains of which nobody's log says that they lost their person. Deleted people's own entries are
-- nobody's too, and blank.
SELECT DISTINCT a.arguments ->> 'chain' FROM public.audit_logs AS a
WHERE a.user_id IS NULL AND a.decision = 'forgotten' AND a.origin = 'database'
  AND a.arguments ? 'chain'
