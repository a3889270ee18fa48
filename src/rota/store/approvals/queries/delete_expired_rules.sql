-- Rules that ended long ago. They would still count towards the quota of rules.
DELETE FROM public.approval_rules
WHERE user_id IS NOT DISTINCT FROM %(user_id)s AND expires_at < now() - interval '30 days'
