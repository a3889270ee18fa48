-- As a person, row-level security leaves their own; as the backend, it is to be the operator's.
DELETE FROM public.approval_rules
WHERE id = %(rule_id)s AND user_id IS NOT DISTINCT FROM %(user_id)s
