-- A person can delete only own rules, by row-level security; the backend only the operator's.
DELETE FROM public.approval_rules
WHERE id = %(rule_id)s AND user_id IS NOT DISTINCT FROM %(user_id)s
