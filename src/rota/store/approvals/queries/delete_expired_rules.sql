-- Long after their end nobody looks at them any more, and they count towards what one may have.
DELETE FROM public.approval_rules
WHERE user_id IS NOT DISTINCT FROM %(user_id)s AND expires_at < now() - interval '30 days'
